"""Blankets of randomizers with a continuous output: clipped Laplace and clipped Gaussian.

With a blanket density gamma w(y) = inf_x R(x)(y), and G = B (R(x0)(Y) - e^eps R(x1)(Y))/w(Y),
Y ~ w, B ~ Bern(gamma), the blanket bound is E[(G_1 + ... + G_n)_+] / (gamma n) [Balle et al.,
CRYPTO 2019, Lemma 5.3]. Outputs are cut into cells whose three probabilities (under w and the two
inputs) are exact, so each cell's mean of G is exact; moving a cell's probability to the ends of
G's range on it, and those to the grid, keeps every mean and enlarges the law in convex order:
E[(sum)_+] can only grow. The n-fold sum is one FFT of the law tilted so that 0 is its centre.

Only the upper end is certified here (`lower` is 0), and for inputs at the two ends of the interval:
that they are the worst is not proved, so the status is conditional.
"""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
from scipy import special

from privacy.accounting import errors, gaussian
from privacy.accounting.bound import Adjacency, Bound, Status
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
        """(blanket mass, x0 mass, x1 mass, ratio0, ratio1 at the cells' ends), residue."""
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
        return blanket, mass0, mass1, ratio0, ratio1, 0.0

    def local(self, delta: float) -> float:
        """Privacy loss of one report, unshuffled."""
        del delta
        return self.eps0


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
        errors.positive("radius", self.radius)
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
        return blanket, mass0, mass1, ratio0, ratio1, spare

    def local(self, delta: float) -> float:
        """Privacy loss of one report at delta, unshuffled."""
        mu = 2 * self.radius / self.sigma
        low, high = 0.0, mu * mu / 2 + mu * 45.0
        for _ in range(80):
            middle = 0.5 * (low + high)
            too_much = float(gaussian.delta(middle, mu)) * (1 + 1e-11) > delta
            low, high = (middle, high) if too_much else (low, middle)
        return high


Continuous = ClippedLaplace | ClippedGaussian


def delta_upper(
    mechanism: Continuous, n: int, eps: float, *, fine: int = 600, spare: float
) -> float:
    """Upper bound of delta(eps) by the blanket, for the two extreme inputs.

    `spare`: victim's mass that may lie beyond the cells; it is added.
    """
    blanket, mass0, mass1, ratio0, ratio1, residue = mechanism.cells(fine, spare)
    e = math.exp(eps)
    # Laplace is its own mirror image and so is the Gaussian: one direction is enough
    mean = np.where(blanket > 0, (mass0 - e * mass1) / np.maximum(blanket, 1e-300), 0.0)
    first = ratio0[:-1] - e * ratio1[:-1]
    second = ratio0[1:] - e * ratio1[1:]
    low, high = np.minimum(first, second), np.maximum(first, second)
    low, high = np.minimum(low, mean), np.maximum(high, mean)
    gamma = float(blanket.sum())  # `mean` is L/gamma: the bound's 1/gamma is already in it
    share = np.where(high > low, (mean - low) / np.where(high > low, high - low, 1.0), 0.0)
    points = np.concatenate([low, high, [0.0]])
    masses = np.concatenate([blanket * (1 - share), blanket * share, [max(1 - gamma, 0.0)]])
    value = _positive_part(points, masses, n) / n
    return min(value * (1 + 1e-9) + residue, 1.0)


def _positive_part(points, masses, n):
    """Upper bound of E[(sum of n)_+] for a law with E < 0 given by atoms."""
    tilt = _tilt(points, masses)
    logs = np.where(masses > 0, np.log(np.maximum(masses, 1e-320)) + tilt * points, -np.inf)
    scale = float(np.logaddexp.reduce(logs))
    tilted = np.exp(logs - scale)
    sigma = math.sqrt(max(float(tilted @ points**2), 1e-300))
    step = sigma / 60
    # on the grid, keeping masses and means of the untilted law (convex order), then tilting again
    index = np.floor(points / step)
    right = points / step - index
    first = int(index.min())
    size = int(index.max()) - first + 2
    law = np.zeros(size)
    np.add.at(law, (index - first).astype(int), masses * (1 - right))
    np.add.at(law, (index - first).astype(int) + 1, masses * right)
    grid = (first + np.arange(size)) * step
    logs = np.where(law > 0, np.log(np.maximum(law, 1e-320)) + tilt * grid, -np.inf)
    scale = float(np.logaddexp.reduce(logs))
    tilted = np.exp(logs - scale)
    centre = float(tilted @ grid)
    variance = float(tilted @ (grid - centre) ** 2)
    # Bernstein: beyond `half` on either side there is at most e^-46
    widest = float(np.max(np.abs(grid[law > 0] - centre)))
    t = 46.0
    half = math.sqrt(2 * n * variance * t) + 2 * widest * t / 3
    lo = math.floor((n * centre - half) / step)
    length = 1 << int(2 * half / step + 3).bit_length()
    if length > 1 << 23:
        raise errors.PrivacyError(f"n = {n} needs a grid of {length} points; this is out of reach.")
    folded = np.zeros(length)
    np.add.at(folded, (first + np.arange(size)) % length, tilted)
    total = np.maximum(np.fft.irfft(np.fft.rfft(folded) ** n, length), 0.0)
    total = np.roll(total, -(lo % length))
    sums = (lo + np.arange(length)) * step
    kept = sums > 0
    expected = float(np.sum(total[kept] * np.exp(-tilt * sums[kept]) * sums[kept]))
    error = (2e-20 + 4e-16 * (n * 4e-2 + 60) * math.sqrt(length)) / (math.e * tilt)
    return math.exp(n * scale) * (expected + error)


def _tilt(points, masses):
    """The root of d/dt E[e^(t G)] = 0: under e^(t G) the mean is 0."""
    low, high = 0.0, 1.0 / max(float(points.max()), 1e-300)

    def slope(t):
        logs = np.log(np.maximum(masses, 1e-320)) + t * points
        return float(np.sum(np.exp(logs - logs.max()) * points))

    for _ in range(60):
        if slope(high) > 0:
            break
        high *= 2
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return high


def epsilon(mechanism: Continuous, n: int, delta: float, *, rtol: float = 1e-3) -> Bound:
    """Smallest eps found such that n shuffled reports are (eps, delta)-DP: an upper bound.

    Args:
        mechanism: `ClippedLaplace` or `ClippedGaussian`.
        n: users; every one of them runs it.
        delta: in (0, 1).
        rtol: of the search.

    Returns:
        A `Bound` with lower 0 (none is certified); the local guarantee, and a note that says so,
        where shuffling cannot be shown to help.
    """
    n, delta = errors.count("n", n), errors.probability("delta", delta)
    local = mechanism.local(delta)
    meta = (Status.CONDITIONAL, Adjacency.REPLACE, BLANKET)
    assumptions = (HONEST, FIXED, ENDS)
    note = "no amplification is shown here: the local guarantee"
    if getattr(mechanism, "dimension", 1) > 1:
        return _local(local, note)
    value: Callable[[float], float] = lambda eps: delta_upper(mechanism, n, eps, spare=delta / 100)
    try:
        low, high = 0.0, local
        start = local / 2
        while high - low > rtol * high:
            middle = start if high == local else 0.5 * (low + high)
            start = 0.5 * start
            low, high = (low, middle) if value(middle) <= delta else (middle, high)
            if high == local:
                start = 0.5 * (low + high)
    except errors.PrivacyError:
        return _local(local, note)
    if high >= local:
        return _local(local, note)
    return Bound(0.0, high, *meta, assumptions=assumptions)


def _local(value: float, note: str) -> Bound:
    theorem = "local differential privacy, no shuffling"
    return Bound(0.0, value, Status.UNIVERSAL, Adjacency.REPLACE, theorem, notes=(note,))
