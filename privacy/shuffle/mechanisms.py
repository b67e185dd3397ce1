"""Local randomizers as the accountant sees them: their two levels and their worst bystanders.

A mechanism names a family; eps0 is given to it where it is used. All but the last are two-level
(`privacy.shuffle.twolevel`): `level(eps0)` is their blanket, `bystanders(eps0)` the data sets that
bound the true loss from below, as pairs (only, shown) for `twolevel.merged`. Where every pair of
inputs looks alike by symmetry the worst inputs need no search and the status is
`mechanism-exact`. The jitted randomizers of the same names are in `privacy.shuffle.randomizers`.

Blankets are for one round in which every user runs the same randomizer, fixed before the round.
"""

import abc
import dataclasses
import math
from typing import ClassVar

import numpy as np
from scipy import integrate, special

from privacy.accounting.bound import Status
from privacy.accounting.errors import PrivacyError, count
from privacy.shuffle.twolevel import TwoLevel

FIXED = "every honest user runs this randomizer, fixed before the round"


@dataclasses.dataclass(frozen=True)
class Mechanism(abc.ABC):
    """What the accountant needs to know about a randomizer."""

    status: ClassVar[Status] = Status.MECHANISM_EXACT
    assumptions: ClassVar[tuple[str, ...]] = (FIXED,)
    condition: ClassVar[bool] = False  # whether (*) holds, so that the stronger clone applies
    searched: ClassVar[bool] = False  # whether `privacy.shuffle.worst` finds its worst bystanders

    @abc.abstractmethod
    def level(self, eps0: float) -> TwoLevel:
        """The kinds of output, seen from the worst two inputs."""

    @abc.abstractmethod
    def bystanders(self, eps0: float) -> list[tuple[float, float]]:
        """(only, shown) of data sets that bound the loss from below; may be empty."""


def _filtered(only: float, eps0: float, overlap: float) -> list[tuple[float, float]]:
    """Bystanders with a third input that an informative output is high for at rate `overlap`.

    Either nothing else is looked at, or outputs high for the third input are set aside.
    """
    kept = only * (1 - overlap)
    return [(kept, kept), (only, only * (1 + overlap * math.expm1(eps0)))]


@dataclasses.dataclass(frozen=True)
class RandomizedResponse(Mechanism):
    """k-ary randomized response: the own symbol with odds e^eps0 against each other one."""

    k: int = 2
    condition: ClassVar[bool] = True
    searched: ClassVar[bool] = True

    def __post_init__(self):
        count("k", self.k, 2)

    def level(self, eps0: float) -> TwoLevel:
        p = math.exp(-eps0) / (1 + (self.k - 1) * math.exp(-eps0))
        return TwoLevel(eps0, p, 0.0, (self.k - 2) * p)

    def bystanders(self, eps0: float) -> list[tuple[float, float]]:
        p = self.level(eps0).only
        return [(p, p)] if self.k > 2 else []

    def matrix(self, eps0: float) -> np.ndarray:
        """(k, k) probabilities."""
        p = self.level(eps0).only
        return np.full((self.k, self.k), p) + (1 - self.k * p) * np.eye(self.k)


@dataclasses.dataclass(frozen=True)
class SubsetSelection(Mechanism):
    """A random subset of `size` symbols out of k, e^eps0 times likelier if it holds the own one.

    Ye and Barg, 2018. The variance is least at size = k/(e^eps0 + 1).
    """

    k: int
    size: int

    def __post_init__(self):
        count("k", self.k, 2)
        if not 1 <= count("size", self.size) < self.k:
            raise PrivacyError(f"a subset has between 1 and k - 1 symbols, got {self.size}.")

    def level(self, eps0: float) -> TwoLevel:
        k, w = self.k, self.size
        share = w / k  # of all subsets those that hold a given symbol
        v = 1 / (math.exp(eps0) * share + 1 - share)  # low density against uniform
        pairs = k * (k - 1)
        return TwoLevel(
            eps0,
            v * w * (k - w) / pairs,
            v * w * (w - 1) / pairs,
            v * (k - w) * (k - w - 1) / pairs,
        )

    def bystanders(self, eps0: float) -> list[tuple[float, float]]:
        if self.k < 3:
            return []
        return _filtered(self.level(eps0).only, eps0, (self.size - 1) / (self.k - 2))


def _independent(eps0: float, gamma: float, q: float) -> TwoLevel:
    """Kinds when an output is high for each input independently with probability q."""
    return TwoLevel(eps0, gamma * q * (1 - q), gamma * q * q, gamma * (1 - q) ** 2)


@dataclasses.dataclass(frozen=True)
class UnaryEncoding(Mechanism):
    """Optimized unary encoding (OUE): the own bit is kept with 1/2, others rise with 1/(e^eps0+1).

    Wang, Blocki, Li, Jha, 2017.
    """

    k: int

    def __post_init__(self):
        count("k", self.k, 2)

    def level(self, eps0: float) -> TwoLevel:
        small = math.exp(-eps0)
        return _independent(eps0, (1 + small) / 2, small / (1 + small))

    def bystanders(self, eps0: float) -> list[tuple[float, float]]:
        small = math.exp(-eps0)
        return _filtered(self.level(eps0).only, eps0, small / (1 + small)) if self.k > 2 else []


@dataclasses.dataclass(frozen=True)
class Rappor(Mechanism):
    """Basic RAPPOR: every bit of the one-hot code is flipped with probability 1/(e^(eps0/2)+1)."""

    k: int

    def __post_init__(self):
        count("k", self.k, 2)

    def level(self, eps0: float) -> TwoLevel:
        half = math.exp(-eps0 / 2)
        return _independent(eps0, half, half / (1 + half))

    def bystanders(self, eps0: float) -> list[tuple[float, float]]:
        half = math.exp(-eps0 / 2)
        return _filtered(self.level(eps0).only, eps0, half / (1 + half)) if self.k > 2 else []


@dataclasses.dataclass(frozen=True)
class HadamardResponse(Mechanism):
    """Hadamard response: an output is high where the input's Hadamard row is +1.

    Acharya, Sun, Zhang, 2019, with the row of ones left out. Any two rows split the outputs into
    four equal kinds.
    """

    k: int

    def __post_init__(self):
        count("k", self.k, 2)

    def level(self, eps0: float) -> TwoLevel:
        part = math.exp(-eps0) / (2 * (1 + math.exp(-eps0)))
        return TwoLevel(eps0, part, part, part)

    def bystanders(self, eps0: float) -> list[tuple[float, float]]:
        # the third row can be the product of the two, which is -1 on every informative output
        part = self.level(eps0).only
        return [(part, part)] if self.k > 2 else []


@dataclasses.dataclass(frozen=True)
class LocalHashing(Mechanism):
    """Hash the input to g buckets by a public random function, then g-ary randomized response.

    Wang, Blocki, Li, Jha, 2017. Any two inputs must meet in a bucket with probability 1/g exactly:
    the functions are drawn uniformly from all functions.
    """

    buckets: int
    assumptions: ClassVar[tuple[str, ...]] = (FIXED, "hash functions are uniformly random")

    def __post_init__(self):
        count("buckets", self.buckets, 2)

    def level(self, eps0: float) -> TwoLevel:
        g = self.buckets
        small = math.exp(-eps0)
        return _independent(eps0, g * small / (1 + (g - 1) * small), 1 / g)

    def bystanders(self, eps0: float) -> list[tuple[float, float]]:
        return _filtered(self.level(eps0).only, eps0, 1 / self.buckets)


def cap_mass(dimension: int, threshold: float) -> float:
    """Pr[<a, u> >= threshold] for a uniform on the unit sphere of R^dimension, threshold >= 0."""
    return 0.5 * float(special.betainc((dimension - 1) / 2, 0.5, 1 - threshold * threshold))


def log_cap_mass(dimension: int, threshold: float) -> float:
    """log of `cap_mass`."""
    mass = cap_mass(dimension, threshold)
    return math.log(mass) if mass > 0 else -math.inf


@dataclasses.dataclass(frozen=True)
class PrivUnit(Mechanism):
    """A direction, reported as a random one in the cap around it or outside that cap.

    Bhowmick et al., 2018, in its pure form (Asi, Feldman, Talwar, 2022): a in {<a, u> >= g} with
    probability e^eps0 s / (1 - s + e^eps0 s), s the cap's share of the sphere.

    For g >= 0 the caps of opposite directions do not meet, so no output is high for both; that
    pair has the largest chi-square. That it is the worst at every n is checked over overlaps in
    the tests, not proved: the status is conditional.
    """

    dimension: int
    threshold: float | None = None  # g; None = the one that maximises E<a, u> at eps0
    status: ClassVar[Status] = Status.CONDITIONAL
    assumptions: ClassVar[tuple[str, ...]] = (
        FIXED,
        "opposite directions are the worst inputs (checked over all overlaps, not proved)",
    )

    def __post_init__(self):
        count("dimension", self.dimension, 2)
        if self.threshold is not None and not 0 <= self.threshold < 1:
            raise PrivacyError(f"the cap's threshold must lie in [0, 1), got {self.threshold}.")

    def cap(self, eps0: float) -> float:
        """The threshold in use."""
        return best_cap(self.dimension, eps0) if self.threshold is None else self.threshold

    def level(self, eps0: float) -> TwoLevel:
        s = cap_mass(self.dimension, self.cap(eps0))
        v = 1 / (1 + math.expm1(eps0) * s)
        return TwoLevel(eps0, v * s, 0.0, v * max(1 - 2 * s, 0.0))

    def bystanders(self, eps0: float) -> list[tuple[float, float]]:
        if self.dimension < 3:
            return []
        overlap = self._overlap(self.cap(eps0))
        return _filtered(self.level(eps0).only, eps0, min(overlap * (1 + 1e-6) + 1e-12, 1.0))

    def _overlap(self, g: float) -> float:
        """Share of a cap that lies in the cap around an orthogonal direction."""
        d = self.dimension
        if g == 0:
            return 0.5
        top = min(1.0, math.sqrt(max(1 - g * g, 0.0)))
        if g >= top:
            return 0.0
        density = lambda t: (1 - t * t) ** ((d - 3) / 2) / special.beta((d - 1) / 2, 0.5)
        inner = lambda t: density(t) * cap_mass(d - 1, min(g / math.sqrt(1 - t * t), 1.0))
        end = min(top, g + 12 / math.sqrt(d))
        return integrate.quad(inner, g, end, epsrel=1e-9)[0] / cap_mass(d, g)


@dataclasses.dataclass(frozen=True)
class OneBit(Mechanism):
    """The randomizer of CLDP-SGD: a random coordinate of a vector in a cube, and its random sign.

    Girgis et al., AISTATS 2021. Reports are linear in the record, and the blanket bound is convex
    in the two inputs' laws, so the worst inputs are corners of the cube. Opposite corners look like
    binary randomized response; that corners which share signs are no worse is checked over
    overlaps in the tests, not proved: the status is conditional.
    """

    dimension: int
    status: ClassVar[Status] = Status.CONDITIONAL
    assumptions: ClassVar[tuple[str, ...]] = (
        FIXED,
        "opposite corners are the worst inputs (checked over overlaps, not proved)",
    )

    def __post_init__(self):
        count("dimension", self.dimension)

    def level(self, eps0: float) -> TwoLevel:
        small = math.exp(-eps0)
        return TwoLevel(eps0, small / (1 + small), 0.0, 0.0)

    def bystanders(self, eps0: float) -> list[tuple[float, float]]:
        return []


def mean_projection(dimension: int, eps0: float, threshold: float) -> float:
    """m = E<a, u> of PrivUnit: a/m is an unbiased report of u.

    E[<a,u>; cap] = (1-g^2)^((d-1)/2) / ((d-1) B((d-1)/2, 1/2)), and outside the cap minus that.
    """
    d = dimension
    s = cap_mass(d, threshold)
    if s <= 0:
        return 0.0
    logs = (d - 1) / 2 * math.log1p(-threshold * threshold) - special.betaln((d - 1) / 2, 0.5)
    first = math.exp(logs) / (d - 1)
    return math.expm1(eps0) * first / (1 + math.expm1(eps0) * s)


def best_cap(dimension: int, eps0: float) -> float:
    """The threshold that maximises `mean_projection`, by golden section."""
    lo, hi = 0.0, min(1.0, 2.5 * math.sqrt((2 * eps0 + 8) / dimension))
    ratio = (math.sqrt(5) - 1) / 2
    a, b = hi - ratio * (hi - lo), lo + ratio * (hi - lo)
    fa, fb = (mean_projection(dimension, eps0, g) for g in (a, b))
    for _ in range(60):
        if fa > fb:
            hi, b, fb = b, a, fa
            a = hi - ratio * (hi - lo)
            fa = mean_projection(dimension, eps0, a)
        else:
            lo, a, fa = a, b, fb
            b = lo + ratio * (hi - lo)
            fb = mean_projection(dimension, eps0, b)
    return (lo + hi) / 2
