"""The clone pair: what a shuffled data set shows of one user in the worst case.

Pair(eps0, n, rate): C ~ Bin(n-1, rate) other users are clones of the victim, A ~ Bin(C, 1/2) of
them of its first input, and the victim itself shows its input with probability e^eps0/(e^eps0+1):

    P = law of (A + D, C - A + 1 - D),  Q = law of (A + 1 - D, C - A + D),  D ~ Bern(e0/(e0+1)).

rate = e^-eps0 is the standard clone [Feldman, McMillan, Talwar, FOCS 2021, Theorem 3.2]; it
dominates any n adaptive eps0-LDP randomizers. rate = 2/(e^eps0+1) is the stronger clone
[Feldman, McMillan, Talwar, SODA 2023, Theorem 3.1]; the published proof has a gap (erratum), and
what is proved is condition (*) of `privacy.shuffle.condition`.

Given C = c the likelihood ratio of (a, c+1-a) is (1 + kappa y)/(1 - kappa y) with
y = 2a/(c+1) - 1 and kappa = tanh(eps0/2), so delta is a mixture of call options (`mixture`).
P and Q are mirror images: one direction is enough.
"""

import math
from typing import NamedTuple

import numpy as np

from privacy.shuffle import binomial, mixture
from privacy.shuffle.binomial import Binomial


class Pair(NamedTuple):
    """Two laws of shuffled outputs, by their parameters."""

    eps0: float
    n: int
    rate: float  # probability that another user is a clone
    rest: float  # 1 - rate

    @property
    def clones(self) -> Binomial:
        """Law of the number of clones."""
        return Binomial(float(self.n - 1), self.rate, self.rest)


def standard(eps0: float, n: int) -> Pair:
    """The standard clone: universal."""
    return Pair(eps0, n, math.exp(-eps0), -math.expm1(-eps0))


def stronger(eps0: float, n: int) -> Pair:
    """The stronger clone: proved under condition (*)."""
    small = math.exp(-eps0)
    return Pair(eps0, n, 2 * small / (1 + small), math.tanh(eps0 / 2))


def guess(pair: Pair, delta: float) -> float:
    """Roughly the eps at `delta`, from the Gaussian limit: where to look, not a bound."""
    mean = pair.clones.mean + 1
    mu = 2 * math.tanh(pair.eps0 / 2) / math.sqrt(mean)
    t = math.sqrt(max(2 * math.log(1 / delta), 0.1))
    t -= math.log(max(t * t / max(mu, 1e-300) * 2.5, 1.0)) / t  # (1 + t^2/..): tail of a call
    return min(max(mu * max(t, 0.2) + mu * mu / 2, 1e-9 * pair.eps0), 0.98 * pair.eps0)


def edges(law: Binomial, blocks: int, exponent: float, tilt: float = 0.0) -> np.ndarray:
    """Ends of the blocks: at most `blocks` of them over the window, finest where it matters.

    delta weighs c by about pmf(c) e^(-tilt c); the widths that make the gap smallest go with
    the inverse square root of that, so the ends are quantiles of a bell sqrt(2) times as wide.
    """
    lo, hi = binomial.window(law, exponent)
    if hi - lo + 1 <= blocks:
        return np.arange(lo, hi + 2)
    shrink = math.exp(-tilt)
    p = law.p * shrink / (law.q + law.p * shrink)
    center, width = law.n * p, math.sqrt(2 * law.n * p * (1 - p)) + 1e-9
    # quantiles of a logistic bell: no inverse error function, and heavier tails
    scale = width * 0.6
    ends = 1 / (1 + np.exp(np.clip(-(np.array([lo, hi + 1]) - center) / scale, -700, 700)))
    u = np.linspace(max(ends[0], 1e-6), min(ends[1], 1 - 1e-6), blocks - 1)
    inner = np.round(center + scale * np.log(u / (1 - u)))
    inner = inner[(inner > lo) & (inner < hi + 1)]
    if inner.size:  # the flanks, which the bell leaves as one block each
        few = max(blocks // 16, 2)
        left = np.round(np.linspace(lo, inner[0], few))
        right = np.round(np.linspace(inner[-1], hi + 1, few))
        inner = np.concatenate([left, inner, right])
    return np.unique(np.concatenate([[lo], inner, [hi + 1]]))


def blocks_of(pair: Pair, blocks: int, exponent: float, tilt: float = 0.0):
    """(edges of the blocks of C, their probabilities, mass left and right, whether exact)."""
    law = pair.clones
    ends = edges(law, blocks, exponent, tilt)
    exact = bool(np.all(np.diff(ends) == 1))
    weight = np.exp(binomial.log_pmf(ends[:-1], law)) if exact else binomial.masses(ends, law)
    below, above = binomial.tails(ends[[0, -1]], law)
    return ends, weight, float(below[0]), float(above[1]), exact


def make(pair: Pair, blocks: int, exponent: float, tilt: float = 0.0) -> mixture.Mixture:
    """The pair's delta as a certified mixture."""
    ends, weight, left, right, exact = blocks_of(pair, blocks, exponent, tilt)
    first, last = ends[:-1], ends[1:] - 1
    kappa = math.tanh(pair.eps0 / 2)
    upper = mixture.Terms(weight, first + 1, 0.0)
    lower = upper if exact else mixture.Terms(weight, last + 1, 0.0)
    return mixture.Mixture(pair.eps0, kappa, upper, lower, left, right, exact)


def epsilon(pair: Pair, delta: float, rtol: float = 1e-3) -> mixture.Solution:
    """Certified bracket of the smallest eps with delta(eps) <= delta."""
    first = guess(pair, delta)
    tilt = (math.tanh(first / 2) / math.tanh(pair.eps0 / 2)) ** 2 / 2
    maker = lambda blocks, exponent: make(pair, blocks, exponent, tilt)
    return mixture.solve(maker, pair.eps0, pair.n, delta, rtol=rtol, guess=first)


def delta(pair: Pair, eps: float, rtol: float = 1e-6) -> tuple[float, float]:
    """Certified (lower, upper) of delta(eps)."""
    if eps >= pair.eps0:
        return 0.0, 0.0
    tilt = (math.tanh(eps / 2) / math.tanh(pair.eps0 / 2)) ** 2 / 2
    blocks, exponent = 64, 40.0
    while True:
        part = make(pair, blocks, exponent, tilt)
        low, high = (float(v[0]) for v in mixture.bracket(part, np.array([eps]), pair.n))
        if high <= low * (1 + rtol) or (exponent > 700 and part.exact):
            return low, high
        needed = 30.0 - math.log(max(low, 1e-300))
        if needed > exponent + 1:
            exponent = needed
        elif part.exact or blocks >= 1 << 18:
            return low, high
        else:
            blocks *= 4
