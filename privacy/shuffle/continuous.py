"""Blankets of randomizers with a continuous output: clipped Laplace and clipped Gaussian.

With a blanket density gamma w(y) = inf_x R(x)(y), and G = B (R(x0)(Y) - e^eps R(x1)(Y))/w(Y),
Y ~ w, B ~ Bern(gamma), the blanket bound is E[(G_1 + ... + G_n)_+] / (gamma n) [Balle et al.,
CRYPTO 2019, Lemma 5.3]. Outputs are cut into cells whose three probabilities (under w and the two
inputs) are exact, so each cell's mean of G is exact. Moving a cell's probability to the ends of
G's range on it keeps the mean and enlarges the law in convex order, moving it to the mean makes it
smaller: E[(sum)_+] can only grow, or fall, and `lattice` has certified values of both.

The inputs are the two ends of the interval: that they are the worst is not proved, so the status is
conditional. What real data lose, `attained`, does not depend on that.
"""

import dataclasses
import math

import numpy as np
from scipy import special

from privacy.accounting import errors, gaussian, roots
from privacy.accounting.bound import Adjacency, Bound, Status
from privacy.shuffle import attained, lattice
from privacy.shuffle.mechanisms import FIXED
from privacy.shuffle.question import BLANKET, HONEST

ENDS = "the two ends of the interval are the worst inputs (not proved)"


@dataclasses.dataclass(frozen=True)
class ClippedLaplace:
    """A number clipped to [0, 1] plus Laplace noise of scale 1/eps0: pure eps0-LDP."""

    eps0: float

    def __post_init__(self):
        errors.positive("eps0", self.eps0)

    def cells(self, count: int, spare: float):
        """Blanket, x0 and x1 mass of each cell, both ratios at the cells' ends, and two scalars.

        The scalars: the victim's mass, and the blanket's, that lie beyond all cells.
        """
        del spare
        e = self.eps0
        edges = np.concatenate([[-np.inf], np.linspace(0, 1, count + 1), [np.inf]])
        below = lambda y, x: 0.5 * np.exp(e * (np.minimum(y, x) - x))
        above = lambda y, x: 0.5 * np.exp(-e * (np.maximum(y, x) - x))
        low = lambda y, x: np.where(y < x, below(y, x), 1 - above(y, x))
        mass0, mass1 = np.diff(low(edges, 0.0)), np.diff(low(edges, 1.0))
        # inf_x is the density of the farther end: x = 1 left of 1/2 and x = 0 right of it
        middle = edges[:-1] + edges[1:]
        blanket = np.where(middle < 1, mass1, mass0)
        inside = np.clip(edges, 0, 1)
        far = np.maximum(inside, 1 - inside)
        ratio0, ratio1 = np.exp(e * (far - inside)), np.exp(e * (far - (1 - inside)))
        return blanket, mass0, mass1, ratio0, ratio1, 0.0, 0.0

    def local(self, delta: float) -> float:
        """Privacy loss of one report, unshuffled."""
        del delta
        return self.eps0

    def attained(self, n: int, delta: float) -> float:
        """eps that the reports really lose when every bystander holds 1/2."""
        e = self.eps0
        cuts = np.linspace(0.0, 0.45, 10)  # outer thirds: below the cut, above 1 - cut
        low = 0.5 * np.exp(-e * (1 - cuts))
        high, middle = 1 - 0.5 * np.exp(-e * cuts), 0.5 * np.exp(-e * (0.5 - cuts))
        return max(_thirds(*ends, n, delta) for ends in zip(low, high, middle, strict=True))


@dataclasses.dataclass(frozen=True)
class ClippedGaussian:
    """A vector clipped to norm `radius` plus N(0, sigma^2) noise: not pure, needs no delta0 here.

    Shuffling amplifies it in one dimension; the blanket's mass falls exponentially with dimension
    (10^-14 at d = 1,000 and sigma = radius), and the local guarantee is what is returned there.
    """

    sigma: float
    radius: float = 1.0
    dimension: int = 1

    def __post_init__(self):
        errors.positive("sigma", self.sigma)
        gaussian.noise(self.sigma / errors.positive("radius", self.radius))
        errors.count("dimension", self.dimension)

    def cells(self, count: int, spare: float):
        """As of `ClippedLaplace`; beyond the cells lies at most `spare` of the victim's mass."""
        c = self.radius / self.sigma
        reach = c - float(special.ndtri(spare / 2))
        edges = np.linspace(-reach, reach, 2 * count + 1)
        # as differences of the nearer tail, so that far cells keep their digits
        phi = lambda shift: np.where(
            edges[:-1] - shift > 0,
            special.ndtr(shift - edges[:-1]) - special.ndtr(shift - edges[1:]),
            special.ndtr(edges[1:] - shift) - special.ndtr(edges[:-1] - shift),
        )
        mass0, mass1 = phi(-c), phi(c)
        blanket = np.where(edges[:-1] + edges[1:] < 0, mass1, mass0)
        far = np.abs(edges)
        ratio0, ratio1 = np.exp(c * (far - edges)), np.exp(c * (far + edges))
        return blanket, mass0, mass1, ratio0, ratio1, spare, 2 * special.ndtr(-reach - c)

    def attained(self, n: int, delta: float) -> float:
        """eps that the reports really lose when every bystander holds 0, in one dimension."""
        c = self.radius / self.sigma
        cuts = np.linspace(0.0, 6.0, 25)[1:]  # outer thirds: beyond +-cut
        low, high = special.ndtr(-cuts - c), special.ndtr(-cuts + c)
        middle = special.ndtr(-cuts)
        return max(_thirds(*ends, n, delta) for ends in zip(low, high, middle, strict=True))

    def local(self, delta: float) -> float:
        """Privacy loss of one report at delta, unshuffled."""
        mu = 2 * self.radius / self.sigma
        low, high = 0.0, mu * mu / 2 + mu * 45.0
        for _ in range(80):
            middle = 0.5 * (low + high)
            slack = 1 + float(gaussian.rounding(middle, mu))
            too_much = float(gaussian.delta(middle, mu)) * slack > delta
            low, high = (middle, high) if too_much else (low, middle)
        return high


Continuous = ClippedLaplace | ClippedGaussian


def deltas(
    mechanism: Continuous, n: int, eps: float, *, cells: int = 600, spare: float
) -> tuple[float, float]:
    """Certified (lower, upper) of the blanket bound's delta(eps), for the two extreme inputs.

    Args:
        mechanism: `ClippedLaplace` or one-dimensional `ClippedGaussian`.
        n: users.
        eps: >= 0.
        cells: into how many the outputs are cut.
        spare: victim's mass that may lie beyond the cells; the upper end counts it as lost, the
            lower end as hidden.

    Raises:
        PrivacyError: the convolution is out of reach.
    """
    blanket, mass0, mass1, ratio0, ratio1, residue, beyond = _cells(mechanism, cells, spare)
    # Laplace is its own mirror image and so is the Gaussian: one direction is enough
    with np.errstate(over="ignore", invalid="ignore"):
        e = np.exp(errors.non_negative("eps", eps))
        mean = np.where(blanket > 0, (mass0 - e * mass1) / np.maximum(blanket, 1e-300), 0.0)
        first, second = ratio0[:-1] - e * ratio1[:-1], ratio0[1:] - e * ratio1[1:]
        low = np.minimum(np.minimum(first, second), mean)
        high = np.maximum(np.maximum(first, second), mean)
        if not np.isfinite(np.square([low, high])).all():
            raise errors.PrivacyError(f"the blanket of {mechanism} leaves double range.")
    if high.max() <= 0:  # no output of a cell is e^eps times likelier
        return 0.0, min(residue, 1.0)
    rest = max(1 - float(blanket.sum()), 0.0)  # reports that are not the blanket's
    share = np.where(high > low, (mean - low) / np.where(high > low, high - low, 1.0), 0.0)
    wide = lattice.Law(
        np.concatenate([low, high, [0.0]]),
        np.concatenate([blanket * (1 - share), blanket * share, [rest]]),
    )
    # with a report beyond the cells the sum is anything: that case is left out below
    narrow = lattice.Law(np.append(mean, 0.0), np.append(blanket, max(rest - beyond, 0.0)))
    theta = lattice.tilt(wide, n)
    weights = wide.masses * np.exp(theta * (wide.points - wide.points.max()))
    step = math.sqrt(float(weights @ wide.points**2) / float(weights.sum())) / 30
    step = min(step, 0.2 / theta)
    # a coarser lattice is still a bound: for many users that is the price
    step *= float(np.clip(2 * lattice.length(wide, n, theta, step) / lattice.LONGEST, 1, 6))
    # `mean` is L/gamma: the bound's 1/gamma is already in it
    least = lattice.lower(narrow, n, theta, step) / n * (1 - 1e-9)
    most = lattice.upper(wide, n, theta, step) / n * (1 + 1e-9)
    return least, min(most + residue + 1e-300, 1.0)  # where it left double range


def _cells(mechanism, count, spare):
    """The cells, if their numbers are in double range."""
    with np.errstate(over="ignore", invalid="ignore"):
        found = mechanism.cells(count, spare)
    if not all(np.isfinite(part).all() for part in found):
        raise errors.PrivacyError(f"the blanket of {mechanism} leaves double range.")
    return found


def epsilon(mechanism: Continuous, n: int, delta: float, *, rtol: float = 1e-3) -> Bound:
    """Smallest eps such that n shuffled reports are (eps, delta)-DP, by the blanket.

    Args:
        mechanism: `ClippedLaplace` or `ClippedGaussian`.
        n: users; every one of them runs it.
        delta: in (0, 1).
        rtol: of the search; the gap that the cells leave comes on top.

    Returns:
        A `Bound`; `.attained` is what thirds of the output attain among bystanders in the middle.
        Where shuffling cannot be shown to help it is the local guarantee, with a note that says so.
    """
    n, delta = errors.count("n", n), errors.probability("delta", delta)
    local = mechanism.local(delta)
    if getattr(mechanism, "dimension", 1) > 1:
        return _local(local)
    ends = lambda eps: deltas(mechanism, n, eps, spare=delta / 1000)
    logs = lambda side: lambda eps: math.log(max(ends(eps)[side], 1e-320) / delta)
    last, tol = local * (1 - 1e-9), rtol / 8
    try:
        # the Gaussian limit: a standard deviation of sqrt(chi2/n)
        blanket, mass0, mass1 = _cells(mechanism, 600, delta / 1000)[:3]
        kept = blanket > 0
        mu = math.sqrt(float(np.sum((mass0 - mass1)[kept] ** 2 / blanket[kept])) / n)
        z = 1 + math.sqrt(-2 * math.log(delta))
        high = roots.bracket(logs(1), 0.0, last, tol, min(mu * z, 0.5 * local), -z / mu)[1]
        if not high < local:
            return _local(local)
        low = roots.bracket(logs(0), 0.0, high, tol, high * (1 - tol), -z / mu)[0]
    except errors.PrivacyError:
        return _local(local)
    return Bound(
        low,
        high,
        Status.CONDITIONAL,
        Adjacency.REPLACE,
        BLANKET,
        assumptions=(HONEST, FIXED, ENDS),
        _attained=lambda: mechanism.attained(n, delta),
    )


def _thirds(low: float, high: float, middle: float, n: int, delta: float) -> float:
    """eps attained when reports are cut into low, neither and high.

    Args:
        low, high: probabilities of the high third under the two inputs, mirrored for the low one.
        middle: probability of either outer third for a bystander in the middle of the interval.
    """
    if not 0 < low < high:
        return 0.0
    return attained.merged_epsilon(math.log(high / low), n, delta, low, middle)


def _local(value: float) -> Bound:
    theorem = "local differential privacy, no shuffling"
    note = "no amplification is shown here: the local guarantee"
    return Bound(0.0, value, Status.UNIVERSAL, Adjacency.REPLACE, theorem, notes=(note,))
