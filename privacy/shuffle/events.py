"""Shuffled rounds as events of a ledger: their privacy profiles."""

import dataclasses
import math

import numpy as np

from privacy.accounting import errors, gaussian, rdp, sampling
from privacy.accounting.bound import Adjacency, Bound
from privacy.accounting.profile import Profile
from privacy.shuffle import binomial, mixture, option, pair, question, renyi, twolevel
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
        found = question.check(
            self.eps0, self.clients, self.mechanism, self.bound, 0.0, "reports", self.missing
        )
        if found[2].startswith("closed"):
            raise errors.PrivacyError(
                f"{found[2]} has no privacy profile to compose; use bound="
                f'"{found[2].removeprefix("closed-")}".'
            )
        return found

    def profiles(self, adjacency: Adjacency, tail: float = 1e-16) -> list[Profile]:
        """One profile: replace-one neighbours are symmetric.

        Raises:
            WrongAccountantError: another adjacency.
        """
        return [self._profile(adjacency, tail)]

    def _profile(self, adjacency, tail, most=128, rule=option.COARSE):
        question.require_replace(adjacency)
        eps0, n, bound = self._resolve()
        label = question.label(bound, self.mechanism)
        exponent = 12 - math.log(tail)
        if bound == "blanket" and eps0 <= question.LARGEST:
            level = self.mechanism.level(eps0)
            part = twolevel.make(level, n, 40, exponent, twolevel.Saddle(0.0, 0.0))
        else:
            chosen = question.clones("standard" if bound == "blanket" else bound, eps0, n)
            # eps of a composition moves by half of the relative width of a block
            width = 5 / math.sqrt(chosen.clones.mean + 1)
            blocks = int(np.clip(math.ceil(width / 2e-4), 16, most))
            part = pair.make(chosen, blocks, exponent)
        curve = lambda eps: mixture.bracket(part, eps, n, rule)
        return Profile(
            curve,
            Adjacency.REPLACE,
            label["status"],
            label["theorem"],
            reach=eps0,
            assumptions=label["assumptions"],
        )

    def rdp(self, alpha: float, adjacency: Adjacency) -> Bound:
        """Renyi divergence of order alpha of the clone pair (the universal one for a blanket)."""
        question.require_replace(adjacency)
        eps0, n, bound = self._resolve()
        return renyi.rdp(alpha, eps0, n, bound="standard" if bound == "blanket" else bound)


@dataclasses.dataclass(frozen=True)
class SampledShuffledReports:
    """A shuffled round in which only some of the users take part.

    `fixed`: a uniform subset of `cohort` of the `population` users, membership hidden. `check-in`:
    every user independently with probability cohort/population; the server sees how many came.
    `visible`: everyone sees who came, `cohort` of them.
    """

    eps0: float
    population: int
    cohort: int
    sampling: str = "fixed"
    mechanism: Mechanism | None = None
    bound: str | None = None
    missing: int = 0

    def __post_init__(self):
        errors.one_of("sampling", self.sampling, ("fixed", "check-in", "visible"))
        if not 1 <= self.cohort <= self.population:
            raise errors.PrivacyError(
                f"a cohort of {self.cohort} does not fit a population of {self.population}."
            )
        self._round(self.cohort)

    def _round(self, clients: int) -> ShuffledReports:
        missing = self.missing if clients > self.missing else 0
        return ShuffledReports(self.eps0, clients, self.mechanism, self.bound, missing)

    def profiles(self, adjacency: Adjacency, tail: float = 1e-16) -> list[Profile]:
        """As for `ShuffledReports`; with a cohort that misses users, they are counted out."""
        rate = self.cohort / self.population
        if self.sampling == "fixed":
            return [
                sampling.fixed_size(self._round(self.cohort).profiles(adjacency, tail)[0], rate)
            ]
        if self.sampling == "visible":
            return [sampling.visible(self._round(self.cohort).profiles(adjacency, tail)[0], rate)]
        question.require_replace(adjacency)
        law = binomial.Binomial(float(self.population), rate, 1 - rate)
        ends = pair.edges(law, 16, 3 - math.log(tail))
        ends = ends[ends > self.missing] if self.missing else np.maximum(ends, 1)
        ends = np.unique(ends)
        masses = binomial.masses(ends, law)
        below, above = binomial.tails(ends[[0, -1]], law)
        outside = float(below[0] + above[1])
        # the blocks of m are what limits the precision: inside them less will do
        rounds = lambda m: self._round(m)._profile(adjacency, tail, 32, option.ROUGH)
        return [sampling.check_in(rounds, ends, masses, outside, self.population)]


@dataclasses.dataclass(frozen=True)
class GaussianReports:
    """One round in which every user sends a vector clipped to `radius` plus N(0, sigma^2 I).

    What is accounted is the *local* guarantee, the one that needs no shuffler: Gaussian reports
    are not pure, so the clone theorems are not about them, and the blanket's mass vanishes with
    the dimension (10^-14 at d = 1,000 and sigma = radius). The bound's notes say so. One round of
    one-dimensional reports does gain by shuffling: `privacy.shuffle.continuous.epsilon`.
    """

    sigma: float
    radius: float = 1.0

    def __post_init__(self):
        errors.positive("sigma", self.sigma)
        errors.positive("radius", self.radius)

    def profiles(self, adjacency: Adjacency, tail: float = 1e-16) -> list[Profile]:
        """One profile: replace-one neighbours are mirror images."""
        del tail
        question.require_replace(adjacency)
        local = gaussian.profile(self.sigma / self.radius, adjacency)
        return [dataclasses.replace(local, notes=("no amplification: the local guarantee",))]

    def rdp(self, alpha: float, adjacency: Adjacency) -> float:
        """Renyi divergence of order alpha of one report."""
        question.require_replace(adjacency)
        return rdp.gaussian(alpha, 2 * self.radius / self.sigma)
