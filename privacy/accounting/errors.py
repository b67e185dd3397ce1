"""Why an accountant refuses: one clear sentence, and the function that would be right.

This package imports NumPy and SciPy only, so it has errors of its own.
"""

import math


class PrivacyError(ValueError):
    """An argument for which no privacy statement exists."""


class RegionError(PrivacyError):
    """A named bound was asked for outside the region in which its theorem holds."""


class WrongAccountantError(PrivacyError):
    """A mechanism was given to a theorem that is not about it."""


def positive(name: str, value: float) -> float:
    """`value` as a float, if it is finite and > 0."""
    value = number(name, value)
    if not value > 0:
        raise PrivacyError(f"{name} must be > 0, got {value:g}.")
    return value


def non_negative(name: str, value: float) -> float:
    """`value` as a float, if it is finite and >= 0."""
    value = number(name, value)
    if value < 0:
        raise PrivacyError(f"{name} must be >= 0, got {value:g}.")
    return value


def number(name: str, value: float) -> float:
    """`value` as a float, if it is one finite number."""
    try:
        value = float(value)
    except (TypeError, ValueError) as error:
        raise PrivacyError(f"{name} must be one number, got {value!r}.") from error
    except OverflowError as error:  # a whole number of more than 308 digits
        raise PrivacyError(f"{name} is too large for a double.") from error
    if not math.isfinite(value):
        raise PrivacyError(f"{name} must be finite, got {value}.")
    return value


def probability(name: str, value: float) -> float:
    """`value` as a float, if it lies strictly between 0 and 1."""
    value = number(name, value)
    if not 0 < value < 1:
        raise PrivacyError(f"{name} must lie strictly between 0 and 1, got {value:g}.")
    return value


def fraction(name: str, value: float) -> float:
    """`value` as a float, if it lies in (0, 1]."""
    value = number(name, value)
    if not 0 < value <= 1:
        raise PrivacyError(f"{name} must lie in (0, 1], got {value:g}.")
    return value


def count(name: str, value: float, least: int = 1) -> int:
    """`value` as an int, if it is a whole number >= `least`."""
    number_ = number(name, value)
    if number_ != int(number_) or number_ < least:
        raise PrivacyError(f"{name} must be a whole number >= {least}, got {value}.")
    return int(number_)


def one_of(what: str, value: str, known) -> str:
    """`value`, if it is one of the known names."""
    if value not in known:
        raise PrivacyError(f"unknown {what} {value!r}; there are {', '.join(known)}.")
    return value
