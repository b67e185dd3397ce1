"""A ledger of events, and what they cost together."""

import dataclasses

import numpy as np

from privacy.accounting import pld, rdp
from privacy.accounting.bound import Adjacency, Bound, Status
from privacy.accounting.errors import PrivacyError, count, non_negative, probability
from privacy.accounting.events import Event

_RANK = (Status.UNIVERSAL, Status.MECHANISM_EXACT, Status.CONDITIONAL, Status.CONJECTURE)


@dataclasses.dataclass(frozen=True)
class Ledger:
    """Events that the same data went through, adaptively; immutable.

    Example:
        >>> from privacy.accounting.events import Gaussian
        >>> ledger = Ledger(Adjacency.ADD_REMOVE).record(Gaussian(10.0), 25)
        >>> b = ledger.epsilon(1e-5)
        >>> b.lower <= 1.9931 <= b.upper and b.gap < 2e-3
        True
    """

    adjacency: Adjacency
    entries: tuple[tuple[Event, int], ...] = ()

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

    def _composed(self, delta, rtol):
        """[(optimistic, pessimistic) composition] per direction, and the profiles."""
        copies = sum(t for _, t in self.entries)
        tail = max(delta * 1e-6 / copies, 1e-290)
        parts = [(event.profiles(self.adjacency, tail), t) for event, t in self.entries]
        ways = max(len(p) for p, _ in parts)
        out = []
        for way in range(ways):
            rounds = [(p[way % len(p)], t) for p, t in parts]
            out.append(pld.bracket(rounds, delta, rtol=rtol))
        return out, [p[0] for p, _ in parts]

    def _bound(self, low, high, profiles, quantity):
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
        )

    def epsilon(self, delta: float, *, rtol: float = 1e-3) -> Bound:
        """eps at delta of all events together, by loss distributions; 0 for an empty ledger."""
        delta = probability("delta", delta)
        if not self.entries:
            return Bound(0.0, 0.0, Status.UNIVERSAL, self.adjacency, "nothing was done")
        composed, profiles = self._composed(delta, rtol)
        low = max(c[0].epsilon(delta) for c in composed)
        high = max(c[1].epsilon(delta) for c in composed)
        pure = sum(t * p.reach for (_, t), p in zip(self.entries, profiles, strict=True))
        return self._bound(low, min(high, pure), profiles, "epsilon")

    def delta(self, eps: float, *, rtol: float = 1e-3) -> Bound:
        """delta at eps of all events together."""
        eps = non_negative("eps", eps)
        if not self.entries:
            return Bound(0.0, 0.0, Status.UNIVERSAL, self.adjacency, "nothing was done", "delta")
        guess, low, high, profiles = 1e-6, 0.0, 1.0, []
        for _ in range(4):  # the tilt wants to know roughly which delta it is for
            composed, profiles = self._composed(guess, rtol)
            low = max(float(c[0].delta(eps)[0]) for c in composed)
            high = max(float(c[1].delta(eps)[0]) for c in composed)
            if 0.1 < guess / max(high, 1e-290) < 10 or high <= 1e-280:
                break
            guess = float(np.clip(high, 1e-280, 0.5))
        return self._bound(low, high, profiles, "delta")

    def rdp_epsilon(self, delta: float, orders: np.ndarray = rdp.ORDERS) -> float:
        """An upper bound of eps by Renyi composition: looser, for any number of rounds."""

        def curve(alpha):
            total = 0.0
            for event, times in self.entries:
                value = event.rdp(alpha, self.adjacency)
                total += times * (value.upper if isinstance(value, Bound) else value)
            return total

        return rdp.epsilon(curve, delta, orders)[0]
