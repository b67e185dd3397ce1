"""What the numbers of a config may be: looked at before anything is imported or run."""

import dataclasses
from collections.abc import Collection
from typing import Any

from fl_jax.core import errors


def check(
    config: Any,
    *,
    positive: Collection[str] = (),
    share: Collection[str] = (),
    filled: Collection[str] = (),
    signed: Collection[str] = (),
) -> None:
    """Refuses numbers out of range; those of fields that are not named must be 0 or more.

    Args:
        config: a dataclass; of a field that is a tuple, every number in it.
        positive: names of fields above 0.
        share: names of fields of at most 1.
        filled: names of tuples that need something in them.
        signed: names of fields that may be below 0.

    Raises:
        ConfigError: the first field that is not as it must be.

    Example:
        >>> Config = dataclasses.make_dataclass("Config", [("rate", float), ("sizes", tuple)])
        >>> check(Config(0.1, (4, 0)), positive=("rate", "sizes"))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        fl_jax.core.errors.ConfigError: sizes must be above 0, got 0; give a positive number.
    """
    for field in dataclasses.fields(config):
        name, value = field.name, getattr(config, field.name)
        if name in filled and not value:
            raise errors.ConfigError(f"{name} is empty; give it one value or more.")
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, bool) or not isinstance(number, int | float):
                continue
            if name in positive:
                errors.positive(name, number)
            elif name not in signed:
                errors.not_negative(name, number)
            if name in share and number > 1:
                raise errors.ConfigError(f"{name} is a share, at most 1, got {number}.")
