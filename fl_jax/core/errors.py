"""Errors are sentences: what was expected, what came, what to do."""

import difflib
import operator
from collections.abc import Iterable


class ConfigError(ValueError):
    """A setting that cannot work; the message is shown to the user without a traceback."""


class DataError(ValueError):
    """Data that is missing or not what was promised; shown without a traceback."""


def one_of(what: str, name: str, known: Iterable[str]) -> str:
    """`name` if it is known, else a ConfigError that lists what is and guesses what was meant.

    Example:
        >>> one_of("preset", "smal", ["smoke", "small", "paper"])  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        fl_jax.core.errors.ConfigError: unknown preset 'smal'; did you mean 'small'? Known: ...
    """
    known = list(known)
    if name in known:
        return name
    near = difflib.get_close_matches(str(name), known, n=1)
    guess = f"; did you mean {near[0]!r}?" if near else "."
    raise ConfigError(f"unknown {what} {name!r}{guess} Known: {', '.join(known)}.")


def positive(what: str, value) -> None:
    """Refuses a value that is not above zero."""
    if not value > 0:
        raise ConfigError(f"{what} must be above 0, got {value}; give a positive number.")


def not_negative(what: str, value) -> None:
    """Refuses a value below zero, and NaN."""
    if not value >= 0:
        raise ConfigError(f"{what} must be 0 or more, got {value}; give 0 or a positive number.")


def whole(what: str, value, least: int = 0) -> None:
    """Refuses what is no whole number of `least` or more: a share given for a count, say."""
    try:
        enough = operator.index(value) >= least
    except TypeError:
        enough = False
    if not enough:
        raise ConfigError(f"{what} must be a whole number of {least} or more, got {value}.")


def below_one(what: str, value) -> None:
    """Refuses a value outside [0, 1), and NaN."""
    if not 0 <= value < 1:
        raise ConfigError(f"{what} must lie in [0, 1), got {value}.")
