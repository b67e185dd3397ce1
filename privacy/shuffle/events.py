"""Shuffled rounds as events of a ledger: their privacy profiles."""

import dataclasses
import math

import numpy as np

from privacy.accounting.bound import Adjacency, Bound
from privacy.accounting.profile import Profile
from privacy.shuffle import amplification, mixture, pair, renyi, twolevel
from privacy.shuffle.mechanisms import Mechanism


@dataclasses.dataclass(frozen=True)
class ShuffledReports:
    """One round in which every user sends one eps0-LDP report through the shuffler.

    Args as in `privacy.shuffle.epsilon`. Rounds may be adaptive: what users run in a round may
    depend on earlier rounds' outputs, as long as it is eps0-LDP (and, for the blanket, one
    randomizer fixed before the round).
    """

    eps0: float
    clients: int
    mechanism: Mechanism | None = None
    bound: str | None = None
    missing: int = 0

    def __post_init__(self):
        self._resolve()

    def _resolve(self):
        return amplification._arguments(
            self.eps0, self.clients, self.mechanism, self.bound, 0.0, "reports", self.missing
        )

    def profiles(self, adjacency: Adjacency, tail: float = 1e-16) -> list[Profile]:
        """One profile: replace-one neighbours are symmetric.

        Raises:
            WrongAccountantError: another adjacency.
        """
        amplification.require_replace(adjacency)
        eps0, n, bound = self._resolve()
        label = amplification._label(bound, self.mechanism)
        exponent = 12 - math.log(tail)
        if bound == "blanket":
            level = self.mechanism.level(eps0)
            part = twolevel.make(level, n, 48, exponent, 0.0, 12)
        else:
            chosen = amplification._pair(bound, eps0, n)
            # eps of a composition moves by half of the relative width of a block
            width = 5 / math.sqrt(chosen.clones.mean + 1)
            blocks = int(np.clip(math.ceil(width / 2e-4), 16, 128))
            part = pair.make(chosen, blocks, exponent)
        curve = lambda eps: mixture.bracket(part, eps, n, coarse=True)
        return [
            Profile(
                curve,
                Adjacency.REPLACE,
                label["status"],
                label["theorem"],
                reach=eps0,
                assumptions=label["assumptions"],
            )
        ]

    def rdp(self, alpha: float, adjacency: Adjacency) -> Bound:
        """Renyi divergence of order alpha of the clone pair (the universal one for a blanket)."""
        amplification.require_replace(adjacency)
        eps0, n, bound = self._resolve()
        return renyi.rdp(alpha, eps0, n, bound="standard" if bound == "blanket" else bound)
