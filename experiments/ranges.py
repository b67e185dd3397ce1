"""What the numbers of a config may be: looked at before anything is imported or run."""

import dataclasses
from typing import ClassVar, NamedTuple

from fl_jax.core import errors


class Ranges(NamedTuple):
    """Names of fields; a number whose field is in none of these must be 0 or more."""

    positive: tuple[str, ...] = ()  # above 0
    share: tuple[str, ...] = ()  # at most 1
    filled: tuple[str, ...] = ()  # tuples that need something in them
    signed: tuple[str, ...] = ()  # may be below 0


class Checked:
    """What a config is: a dataclass that says what its numbers may be.

    Where fields must also agree with each other, a config extends `check`.

    Example:
        >>> @dataclasses.dataclass(frozen=True)
        ... class Config(Checked):
        ...     rate: float = 0.1
        ...     sizes: tuple[int, ...] = (4, 0)
        ...     RANGES = Ranges(positive=("rate", "sizes"))
        >>> Config().check()  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        fl_jax.core.errors.ConfigError: sizes must be above 0, got 0; give a positive number.
    """

    RANGES: ClassVar[Ranges] = Ranges()

    def check(self) -> None:
        """Refuses the first number that is not as it must be; of a tuple, every number counts.

        Raises:
            ConfigError: then.
        """
        for field in dataclasses.fields(self):
            name, value = field.name, getattr(self, field.name)
            if name in self.RANGES.filled and not value:
                raise errors.ConfigError(f"{name} is empty; give it one value or more.")
            for number in value if isinstance(value, tuple) else (value,):
                if isinstance(number, bool) or not isinstance(number, int | float):
                    continue
                if name in self.RANGES.positive:
                    errors.positive(name, number)
                elif name not in self.RANGES.signed:
                    errors.not_negative(name, number)
                if name in self.RANGES.share and number > 1:
                    raise errors.ConfigError(f"{name} is a share, at most 1, got {number}.")
