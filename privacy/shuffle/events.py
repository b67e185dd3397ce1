"""Shuffled rounds as events of a ledger: their privacy profiles."""

import dataclasses
import functools
import math

import numpy as np

from privacy.accounting import binomial, errors, gaussian, rdp, sampling
from privacy.accounting.bound import Adjacency, Bound
from privacy.accounting.profile import Profile
from privacy.shuffle import check_in, mixture, option, pair, question, renyi, twolevel
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
        if found[2] == "exact":
            raise errors.PrivacyError(
                "the worst bystanders vary with eps, so they have no privacy profile to compose;"
                ' use bound="blanket".'
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

    def _profile(self, adjacency, tail, most=256, rule=option.COARSE):
        question.require_replace(adjacency)
        eps0, n, bound = self._resolve()
        label = question.label(bound, self.mechanism)
        exponent = 12 - math.log(tail)
        if bound == "blanket" and eps0 <= question.LARGEST:
            level = self.mechanism.level(eps0)
            blocks = (40 if level.both > 0 else 96) if most <= 256 else 160
            part = twolevel.make(level, n, blocks, exponent, twolevel.Saddle(0.0, 0.0))
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
        """Renyi divergence of order alpha: of the clone pair, or an integral of the blanket."""
        question.require_replace(adjacency)
        eps0, n, bound = self._resolve()
        if bound != "blanket":
            return renyi.rdp(alpha, eps0, n, bound=bound)
        found, universal = _integral(self, alpha), renyi.rdp(alpha, eps0, n)
        return found if found.upper <= universal.upper else universal


@dataclasses.dataclass(frozen=True)
class SampledShuffledReports:
    """A shuffled round in which only some of the users take part.

    `fixed`: a uniform subset of `cohort` of the `population` users, membership hidden. `check-in`:
    every user independently with probability cohort/population; the server sees how many came.
    `visible`: everyone sees who came, `cohort` of them.

    `missing` users of the population collude or fall silent; whoever attacks knows which of them
    were drawn. In a check-in they are simply not there. In a cohort of fixed size at least
    cohort - missing reports are honest (and the victim's own), and an honest user is in it with
    probability at most cohort/(population - missing): both are taken at once.
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
        errors.count("cohort", self.cohort)
        errors.count("population", self.population)
        if self.cohort > self.population:
            raise errors.PrivacyError(
                f"a cohort of {self.cohort} does not fit a population of {self.population}."
            )
        self._round(self._honest)  # refuses what it would refuse
        question.check(self.eps0, self.population, None, None, missing=self.missing)

    @property
    def _honest(self) -> int:
        """Honest reports in a cohort of fixed size that the victim is in."""
        return max(self.cohort - self.missing, 1)

    def _round(self, clients: int) -> ShuffledReports:
        return ShuffledReports(self.eps0, clients, self.mechanism, self.bound)

    def profiles(self, adjacency: Adjacency, tail: float = 1e-16) -> list[Profile]:
        """One profile: replace-one neighbours are symmetric.

        Raises:
            WrongAccountantError: another adjacency.
        """
        question.require_replace(adjacency)
        return [self._profile(adjacency, tail)]

    def _profile(self, adjacency, tail, most=256):
        if self.sampling == "check-in":
            return self._check_in(adjacency, tail)
        one = self._round(self._honest)._profile(adjacency, tail, most)
        if self.sampling == "visible":
            return sampling.visible(one, self.cohort / self.population)
        rate = min(self.cohort / (self.population - self.missing), 1.0)
        return sampling.fixed_size(one, rate)

    def _check_in(self, adjacency, tail):
        n, rate = self.population - self.missing, self.cohort / self.population
        eps0, _, bound = self._round(n)._resolve()
        exponent = 12 - math.log(tail)
        some = self._round(max(round(n * rate), 1))
        if bound != "blanket" and eps0 <= mixture.FAR:
            part = question.clones(bound, eps0, n)
            curve = check_in.curve(part, rate, exponent=exponent)
            return dataclasses.replace(some.profiles(adjacency, tail)[0], forward=curve)
        law = binomial.Binomial(float(n), rate, 1 - rate)
        ends = np.unique(np.maximum(pair.edges(law, 48, exponent - 9), 1))
        masses = binomial.masses(ends, law)
        below, above = binomial.tails(ends[[0, -1]], law)
        # nobody came (m = 0) is no loss at all
        none = math.exp(float(binomial.log_pmf(np.zeros(1), law)[0]))
        outside = max(float(below[0]) - none * (1 - 1e-12), 0.0) + float(above[1])
        # the blocks of m are what limits the precision: inside them less will do
        rounds = lambda m: self._round(m)._profile(adjacency, tail, 32, option.ROUGH)
        return sampling.check_in(rounds, ends, masses, outside, n)

    def rdp(self, alpha: float, adjacency: Adjacency) -> Bound:
        """Renyi divergence of order alpha, certified from both sides.

        Seen participation: D' = log(1 - q + q e^((alpha-1) D))/(alpha-1) of the clone pair's D.
        Hidden participation: from the privacy profile, of which it is an integral.
        """
        question.require_replace(adjacency)
        if self.sampling == "visible":
            one = self._round(self._honest).rdp(alpha, adjacency)
            seen = lambda d: rdp.visible(alpha, d, self.cohort / self.population)
            return dataclasses.replace(
                one, lower=seen(one.lower) * (1 - 1e-12), upper=seen(one.upper) * (1 + 1e-12)
            )
        return _integral(self, alpha)


@functools.lru_cache(maxsize=64)
def _table(event) -> tuple[Profile, rdp.Table]:
    """The event's profile and its values, which serve every order."""
    profile = event._profile(Adjacency.REPLACE, 1e-100, 1024)
    return profile, rdp.table(profile)


def _integral(event, alpha: float) -> Bound:
    """Renyi divergence of order alpha from the event's privacy profile."""
    profile, table = _table(event)
    low, high = rdp.of_table(alpha, table)
    return Bound(
        low,
        min(high, profile.reach),
        profile.status,
        profile.adjacency,
        profile.theorem,
        quantity="rdp",
        assumptions=profile.assumptions,
    )


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
        gaussian.noise(self.sigma / errors.positive("radius", self.radius))

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
