"""A ledger of events, and what they cost together."""

import dataclasses
import math
from fractions import Fraction

import numpy as np

from privacy.accounting import pld, pure, rdp
from privacy.accounting.bound import Adjacency, Bound, Status, adjacent
from privacy.accounting.errors import PrivacyError, count, non_negative, probability
from privacy.accounting.events import Event, Gaussian, Pure

_RANK = (Status.UNIVERSAL, Status.MECHANISM_EXACT, Status.CONDITIONAL, Status.CONJECTURE)
LEAST = 1e-270
"""The smallest delta for which a ledger gives an eps."""


@dataclasses.dataclass(frozen=True)
class Ledger:
    """Events that the same data went through, adaptively; immutable.

    Example:
        >>> from privacy.accounting.events import Gaussian
        >>> ledger = Ledger(Adjacency.ADD_REMOVE).record(Gaussian(10.0), 25)
        >>> b = ledger.epsilon(1e-5)
        >>> bool(abs(b.upper - 1.9931) < 2e-3 and b.gap < 2e-3)
        True
    """

    adjacency: Adjacency | str  # by name or not, an Adjacency once made
    entries: tuple[tuple[Event, int], ...] = ()

    def __post_init__(self):
        object.__setattr__(self, "adjacency", adjacent(self.adjacency))

    def record(self, event: Event, times: int = 1) -> "Ledger":
        """The ledger with `times` more of this event."""
        times = count("times", times)
        if not hasattr(event, "profiles"):
            raise PrivacyError(
                f"a ledger records events (privacy.accounting.events, privacy.shuffle.events), got"
                f" {type(event).__name__}."
            )
        entries = dict(self.entries)
        entries[event] = entries.get(event, 0) + times
        return dataclasses.replace(self, entries=tuple(entries.items()))

    def _rounds(self, delta):
        """[[(profile, copies), ..] per direction]; Gaussian entries are one, exactly, and so is
        each pure one."""
        copies = sum(t for _, t in self.entries)
        tail = max(delta * 1e-6 / copies, 1e-290)
        entries = [(e, t) for e, t in self.entries if not isinstance(e, Gaussian)]
        central = [(e, t) for e, t in self.entries if isinstance(e, Gaussian)]
        if central:  # their losses add up in squares, which for very small noise overflow
            strength = math.hypot(*(math.sqrt(t) / e.noise_multiplier for e, t in central))
            entries.append((Gaussian(1 / strength), 1))
        together = lambda e, t: isinstance(e, Pure) and 1 < t <= pure.LARGEST
        parts = [
            ([pure.responses(e.eps, t, self.adjacency)], 1)
            if together(e, t)
            else (e.profiles(self.adjacency, tail), t)
            for e, t in entries
        ]
        ways = max(len(p) for p, _ in parts)
        return [[(p[way % len(p)], t) for p, t in parts] for way in range(ways)]

    def _bound(self, low, high, profiles, quantity, notes=()):
        worst = max((p.status for p in profiles), key=_RANK.index)
        unique = lambda items: tuple(dict.fromkeys(items))
        return Bound(
            low,
            high,
            worst,
            self.adjacency,
            "; ".join(unique(p.theorem for p in profiles)),
            quantity,
            unique(a for p in profiles for a in p.assumptions),
            (*unique(a for p in profiles for a in p.notes), *notes),
        )

    def epsilon(self, delta: float, *, rtol: float = 1e-3) -> Bound:
        """eps at delta of all events together; 0 for an empty ledger.

        By loss distributions; where their bracket is wide, by Renyi composition if that is smaller.

        Args:
            delta: in [`LEAST`, 1).
            rtol: upper/lower - 1 that is worked for; a note says where it was not reached.
        """
        delta = probability("delta", delta)
        if delta < LEAST:
            raise PrivacyError(f"delta must be >= {LEAST:g}, where doubles end, got {delta:g}.")
        if not self.entries:
            return Bound(0.0, 0.0, Status.UNIVERSAL, self.adjacency, "nothing was done")
        low = high = 0.0
        for rounds in self._rounds(delta):
            if sum(t for _, t in rounds) == 1:
                ends = rounds[0][0].epsilon(delta)
            else:
                optimistic, pessimistic = pld.bracket(rounds, delta, rtol=rtol)
                top = pessimistic.epsilon(delta)
                ends = optimistic.epsilon(delta, min(top, 1e300)), top
                if top > ends[0] * (1 + rtol):  # the rounds cost no less than one of them
                    alone = max(p.epsilon(delta, rtol)[0] for p, _ in rounds)
                    ends = max(ends[0], alone), top
            low, high = max(low, ends[0]), max(high, ends[1])
        high = min(high, _pure(rounds))
        notes: tuple[str, ...] = ()
        if high > low * (1 + rtol):
            # Renyi composition is some 10 % above the truth and may take long: for wide ones alone
            if high > low * (1.05 + rtol) and (renyi := self._renyi(delta, high)) < high:
                high, notes = renyi, ("by Renyi composition, which is smaller here",)
            if high > low * (1 + rtol):
                wide = f"the bracket is wider than {rtol:g}; its upper end is valid all the same"
                notes = (*notes, wide)
        return self._bound(min(low, high), high, [p for p, _ in rounds], "epsilon", notes)

    def delta(self, eps: float, *, rtol: float = 1e-3) -> Bound:
        """delta at eps of all events together."""
        eps = non_negative("eps", eps)
        if not self.entries:
            return Bound(0.0, 0.0, Status.UNIVERSAL, self.adjacency, "nothing was done", "delta")
        guess = 1e-6
        for _ in range(4):  # the tilt wants to know roughly which delta it is for
            low = high = 0.0
            for rounds in self._rounds(guess):
                if sum(t for _, t in rounds) == 1:
                    ends = [float(v[0]) for v in rounds[0][0].forward(np.array([eps]))]
                else:
                    ends = [float(c.delta(eps)[0]) for c in pld.bracket(rounds, guess, rtol=rtol)]
                low, high = max(low, ends[0]), max(high, ends[1])
            if 0.1 < guess / max(high, 1e-290) < 10 or high <= 1e-280:
                break
            guess = float(np.clip(high, 1e-280, 0.5))
        return self._bound(low, high, [p for p, _ in rounds], "delta")

    def _renyi(self, delta, most):
        """eps by Renyi composition where that is below `most`, a known bound; else `most`.

        The best order is not far above log(1/delta)/eps: how far to look is
        known better with every bound that is found.
        """
        best = most
        while True:
            farthest = 1 + 20 * math.log(1 / delta) / max(best, 1e-12)
            try:
                value = self.rdp_epsilon(delta, rdp.ORDERS[max(farthest, 2.0) >= rdp.ORDERS][::2])
            except PrivacyError:
                return best
            value += 1e-14 * (value + 5)  # a conversion's terms are at most eps and 5
            if value >= 0.9 * best:
                return min(best, value)
            best = value

    def rdp_epsilon(self, delta: float, orders: np.ndarray = rdp.ORDERS) -> float:
        """An upper bound of eps by Renyi composition: looser, for any number of rounds.

        Raises:
            PrivacyError: an event has no Renyi form here.
        """
        for event, _ in self.entries:
            if not hasattr(event, "rdp"):
                raise PrivacyError(
                    f"{type(event).__name__} has no Renyi form here; use Ledger.epsilon."
                )

        def curve(alpha):
            total = 0.0
            for event, times in self.entries:
                value = event.rdp(alpha, self.adjacency)
                total += times * (value.upper if isinstance(value, Bound) else value)
            return total

        value = rdp.epsilon(curve, delta, orders)[0]
        return value + 1e-14 * (value + 5)  # rounding: a conversion's terms are at most eps and 5


def _pure(rounds):
    """The sum of the largest losses, rounded up."""
    if not all(math.isfinite(p.reach) for p, _ in rounds):
        return math.inf
    exact = sum(t * Fraction(p.reach) for p, t in rounds)
    value = float(exact)
    return value if Fraction(value) >= exact else math.nextafter(value, math.inf)
