"""What every bound returns: two ends, and what the upper one is worth."""

import enum
import functools
from collections.abc import Callable
from dataclasses import dataclass, field

from privacy.accounting.errors import PrivacyError


class Status(enum.StrEnum):
    """How far a bound is proved, and for whom."""

    UNIVERSAL = "universal"  # every eps0-LDP randomizer, adaptive ones too
    CONDITIONAL = "conditional"  # proved where the listed assumptions hold; the caller vouches
    MECHANISM_EXACT = "mechanism-exact"  # the named mechanism, its worst inputs proved
    CONJECTURE = "conjecture"  # no proof: never a default, never a guarantee


class Adjacency(enum.StrEnum):
    """Which data sets are neighbours. Bounds for one are not bounds for another."""

    REPLACE = "replace-one"
    ADD_REMOVE = "add-or-remove-one"


def adjacent(value: Adjacency | str) -> Adjacency:
    """The adjacency of this name.

    Raises:
        PrivacyError: there is none.
    """
    try:
        return Adjacency(value)
    except ValueError as error:
        known = ", ".join(Adjacency)
        raise PrivacyError(f"unknown adjacency {value!r}; there are {known}.") from error


@dataclass(frozen=True)
class Bound:
    """A privacy loss between two numbers.

    `lower` and `upper` bracket, numerically and rounded outward, the quantity that the theorem is
    about (the divergence of its dominating pair). Only `upper` is a guarantee. `attained` is a
    lower bound on the loss that a named mechanism really has on a named data set: it says how much
    a better theorem could still gain, and is None where nothing is known.

    Example:
        >>> b = Bound(0.9, 1.0, Status.UNIVERSAL, Adjacency.REPLACE, "none", "doc")
        >>> round(b.gap, 3), b.attained
        (0.111, None)
    """

    lower: float
    upper: float
    status: Status
    adjacency: Adjacency
    theorem: str  # name and source
    quantity: str = "epsilon"  # epsilon, delta, rdp, eps0 or n
    assumptions: tuple[str, ...] = ()  # what must hold for `upper` to be a guarantee
    notes: tuple[str, ...] = ()  # what the reader should know, such as "local guarantee"
    _attained: Callable[[], float | None] | None = field(default=None, repr=False, compare=False)

    @functools.cached_property
    def attained(self) -> float | None:
        """Computed when it is first asked for."""
        return None if self._attained is None else self._attained()

    @property
    def gap(self) -> float:
        """upper / lower - 1; 0 where both are 0 and infinite where only lower is."""
        if self.upper <= self.lower:
            return 0.0
        return self.upper / self.lower - 1 if self.lower > 0 else float("inf")
