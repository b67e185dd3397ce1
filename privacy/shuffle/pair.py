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

from privacy.accounting import binomial
from privacy.accounting.binomial import Binomial
from privacy.shuffle import mixture


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


# A clone rate below this counts as 0: among 1e13 users there is a clone with probability 1e-277,
# far inside the allowance for rounding, while subnormal numbers would lose theirs.
RARE = 1e-290


def standard(eps0: float, n: int) -> Pair:
    """The standard clone: universal."""
    small = math.exp(-eps0)
    return Pair(eps0, n, small, -math.expm1(-eps0)) if small > RARE else Pair(eps0, n, 0.0, 1.0)


def stronger(eps0: float, n: int) -> Pair:
    """The stronger clone: proved under condition (*)."""
    small = math.exp(-eps0)
    rate, rest = 2 * small / (1 + small), math.tanh(eps0 / 2)
    return Pair(eps0, n, rate, rest) if small > RARE else Pair(eps0, n, 0.0, 1.0)


def guess(pair: Pair, delta: float) -> tuple[float, float]:
    """(eps, slope of log delta there), roughly, from the Gaussian limit: where to look, no bound.

    The sum of signs is taken for Gaussian but for its large-deviation rate I, and the clones'
    number integrated out: E e^(-C I) = (1 - rate + rate e^-I)^(n-1).
    """
    kappa, n, rate = math.tanh(pair.eps0 / 2), pair.n - 1, min(pair.rate, 1.0)
    last, log_target = 0.999 * pair.eps0, math.log(delta)

    def log_delta(eps):
        y = min(math.tanh(eps / 2) / kappa, 1 - 1e-9)
        power = 0.5 * ((1 + y) * math.log1p(y) + (1 - y) * math.log1p(-y))
        power = power if y > 1e-5 else y * y / 2
        shrink = rate * math.expm1(-power)
        m = 1 + n * rate * math.exp(-power) / (1 + shrink)
        t = y * math.sqrt(m)
        # phi(t) - t Q(t), less its exponent: 1/(t^2 + 3) far out
        if t < 5:
            h = math.exp(-t * t / 2) / 2.5066283 - t * math.erfc(t / 1.41421356) / 2
            h = math.log(h) + t * t / 2
        else:
            h = -math.log(2.5066283 * (t * t + 3 - 6 / (t * t)))
        spread = n * math.log1p(shrink) if shrink > -1 else 0.0
        return math.log(kappa / math.sqrt(m)) + np.logaddexp(0.0, eps) + h + spread - power

    mean = pair.clones.mean + 1
    x = min(2 * kappa * math.sqrt(max(-log_target, 0.1) / mean), last / 2)
    f, step = log_delta(x) - log_target, 1e-3
    slope = -1.0 / x
    for _ in range(12):
        moved = x * (1 + step)
        slope = min((log_delta(moved) - log_target - f) / (moved - x), -1e-12 / x)
        new = min(max(x - f / slope, 0.2 * x), 4 * x, last)
        done = abs(new - x) < 1e-4 * x
        x = max(new, 1e-12 * pair.eps0)
        f = log_delta(x) - log_target
        if done:
            break
    return float(x), float(slope)


def edges(law: Binomial, blocks: int, exponent: float, tilt: float = 0.0) -> np.ndarray:
    """Ends of the blocks: at most `blocks` of them over the window, finest where it matters.

    delta weighs c by about pmf(c) e^(-tilt c); the widths that make the gap smallest go with
    the inverse square root of that, so the ends are quantiles of a bell sqrt(2) times as wide.
    """
    lo, hi = binomial.window(law, exponent)
    if hi - lo + 1 <= 1.6 * blocks:  # the sum itself costs little more
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
    exact = bool(ends[-1] - ends[0] == ends.size - 1)
    if exact:
        weight = np.exp(binomial.log_pmf(ends[:-1], law))
        below, above = binomial.tails(ends[[0, -1]], law)
    else:
        below, above = binomial.tails(ends, law)
        weight = binomial.between(ends, below, above, law)
    return ends, weight, float(below[0]), float(above[-1]), exact


def make(pair: Pair, blocks: int, exponent: float, tilt: float = 0.0) -> mixture.Mixture:
    """The pair's delta as a certified mixture.

    A block [first, next first) is bounded above by its first c and below by the next one's, so
    that neighbours share what they evaluate.
    """
    ends, weight, left, right, exact = blocks_of(pair, blocks, exponent, tilt)
    upper = mixture.Terms(weight, ends[:-1] + 1.0, 0.0)
    lower = upper if exact else mixture.Terms(weight, ends[1:] + 1.0, 0.0)
    kappa = math.tanh(pair.eps0 / 2)
    return mixture.Mixture(pair.eps0, kappa, upper, lower, left, right, exact, chained=True)


def _tilt(eps: float, eps0: float) -> float:
    return (math.tanh(eps / 2) / math.tanh(eps0 / 2)) ** 2 / 2


def epsilon(pair: Pair, delta: float, rtol: float = 1e-3) -> mixture.Solution:
    """Certified bracket of the smallest eps with delta(eps) <= delta."""
    first = guess(pair, delta)
    tilt = _tilt(first[0], pair.eps0)
    maker = lambda blocks, exponent: make(pair, blocks, exponent, tilt)
    # blocks of width w in c move eps by w/(2 c)
    mean = 1 + pair.clones.mean * math.exp(-tilt)
    blocks = int(min(max(5 / (math.sqrt(mean) * rtol), 24), 4096))
    return mixture.solve(maker, pair.eps0, pair.n, delta, rtol=rtol, guess=first, blocks=blocks)


def delta(pair: Pair, eps: float, rtol: float = 1e-6) -> tuple[float, float]:
    """Certified (lower, upper) of delta(eps)."""
    tilt = _tilt(eps, pair.eps0)
    maker = lambda blocks, exponent: make(pair, blocks, exponent, tilt)
    return mixture.delta(maker, pair.eps0, pair.n, eps, rtol)
