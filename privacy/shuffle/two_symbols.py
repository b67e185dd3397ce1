"""Shuffled binary randomized response with given bystanders: delta from both sides.

The victim holds 1 in one data set and 0 in the other; of the bystanders `ones` hold 1 and `zeros`
hold 0. With S the bystanders' reported ones, w1 = e^eps0/(e^eps0+1) = 1 - w0, E = e^eps,

    delta(eps) = max_t  u Pr[S = t-1] - (E - 1) Pr[S >= t],     u = w1 - E w0,

because the law of S is log-concave and so the likelihood ratio is monotone. The best t is the first
one with Pr[S = t-1] >= r Pr[S = t], r = 1 + (E-1)/u, at which S tilted by r is centred.

S is a sum of two binomials. Its pmf is a sum over the first one's value i, and given S that value
is a sum of independent Bernoulli variables again [Vatutin and Mikhailov, Theory Probab. Appl. 27,
1982: the generating polynomial has real roots only]. With variance V its characteristic function is
at most exp(-2 V sin^2(x/2)), so by Poisson summation every s-th term times s is the whole sum but
for 2 sum_k exp(-2 V sin^2(pi k/s)) of it: nothing at s <= sqrt(V)/4. Pr[S >= t] is bounded from
below by geometric interpolation of a log-concave sequence. A value costs the same at any n.
"""

import math

import numpy as np

from privacy.accounting import binomial
from privacy.accounting.binomial import Binomial

WIDE = 9.0  # standard deviations of the tilted laws that are summed over
FINE = 20  # points of a standard deviation at which the tail is taken
SLACK = 1e-11  # relative rounding of a pmf, as in `attained`


def delta(eps0: float, eps: float, ones: int, zeros: int) -> tuple[float, float]:
    """Certified (lower, upper) of delta(eps), in the direction that favours ones.

    Among very many users, where terms are skipped, the lower end is 0.

    Args:
        eps0: local privacy loss.
        eps: in [0, eps0].
        ones, zeros: bystanders that hold the victim's symbol of the first and the second data set.
    """
    small = math.exp(-eps0)
    w1, w0 = 1 / (1 + small), small / (1 + small)
    u = -math.expm1(eps - eps0) * w1
    rise = math.expm1(eps)
    if u <= 0:
        return 0.0, 0.0
    ratio = 1 + rise / u
    first, second = Binomial(float(ones), w1, w0), Binomial(float(zeros), w0, w1)
    spread = [_tilted(law, ratio)[1] for law in (first, second)]
    if min(spread) < 64 and max(spread) > 1e6:  # a few among very many: without them is no smaller
        if spread[0] < spread[1]:
            first, spread[0] = first._replace(n=0.0), 0.0
        else:
            second, spread[1] = second._replace(n=0.0), 0.0
    if spread[0] > spread[1]:
        first, second, spread = second, first, spread[::-1]
    sigma, alone = math.sqrt(sum(spread)), first.n == 0
    given = math.inf if alone else spread[0] * spread[1] / sum(spread)
    stride = max(1, math.floor(min(math.sqrt(given) / 4, sigma / FINE)))
    terms = _Terms(first, second, ratio, stride)
    t = terms.threshold(ratio)
    at = terms.pmf(np.array([t - 1.0, t]))
    low, high = _tail(terms, t, stride, sigma, ratio)
    upper = u * at[0] * (1 + SLACK) - rise * low * (1 - SLACK)
    lower = u * at[0] * (1 - SLACK) - rise * high * (1 + SLACK)
    return max(float(lower), 0.0), max(float(upper), 0.0)


def _tilted(law: Binomial, ratio: float) -> tuple[float, float]:
    """(mean, variance) of the binomial under the weight ratio^k."""
    share = law.p * ratio / (law.p * ratio + law.q)
    return law.n * share, law.n * share * (1 - share)


class _Terms:
    """Pr[S = j] as a strided sum over the first binomial's value."""

    def __init__(self, first: Binomial, second: Binomial, ratio: float, stride: int):
        self.first, self.second, self.stride = first, second, stride
        (mean, variance), (other, more) = _tilted(first, ratio), _tilted(second, ratio)
        self.mean = mean + other
        reach = WIDE * math.sqrt(variance) + 2 * stride + 40
        above = reach + WIDE * math.sqrt(variance * variance / max(variance + more, 1e-300))
        lo, hi = max(math.floor(mean - reach), 0), min(math.ceil(mean + above), int(first.n))
        self.i = np.arange(lo, hi + 1, stride, dtype=float)
        self.weight = np.exp(binomial.log_pmf(self.i, first)) * (stride if first.n > 0 else 1)

    def pmf(self, j: np.ndarray) -> np.ndarray:
        """Pr[S = j] of each whole j."""
        return np.exp(binomial.log_pmf(j[:, None] - self.i, self.second)) @ self.weight

    def run(self, start: float, points: int) -> np.ndarray:
        """Pr[S = start + stride m] for m < points."""
        lattice = start - self.i[-1] + self.stride * np.arange(points + self.i.size - 1)
        return np.convolve(np.exp(binomial.log_pmf(lattice, self.second)), self.weight, "valid")

    def threshold(self, ratio: float) -> float:
        """The first t with Pr[S = t-1] >= ratio Pr[S = t]."""
        total = self.first.n + self.second.n
        t = float(min(max(round(self.mean), 0), total + 1))
        for _ in range(1000):
            before, here, after = self.pmf(np.array([t - 2, t - 1, t]))
            if here < ratio * after and t <= total:
                t += 1
            elif t >= 1 and before > 0 and before >= ratio * here:
                t -= 1
            else:
                return t
        return t  # a valid threshold, if not the best: rounding hides the difference


def _tail(terms: _Terms, t: float, stride: int, sigma: float, ratio: float) -> tuple[float, float]:
    """Bounds of Pr[S >= t]; infinity is the upper one where terms are skipped."""
    far = min(WIDE * sigma, 45 / math.log(ratio) if ratio > 1 else math.inf) + 2 * stride
    p = terms.run(t, math.ceil(far / stride) + 1)
    p = p[p > 0]
    if stride == 1:
        falls = float(p[-1] / p[-2]) if p.size > 1 else 0.0  # and ever faster
        last = float(p[-1]) if p.size else 0.0
        rest = last * falls / (1 - falls) if falls < 1 else math.inf
        return float(p.sum()), float(p.sum()) + rest + 1e-300
    if p.size < 2:
        return 0.0, math.inf
    steps = np.log(p[1:] / p[:-1])
    r = steps / stride
    # sum over q = 0..stride-1 of p_m e^(q r): what a log-concave sequence exceeds
    flat = np.abs(r) < 1e-14
    safe = np.where(flat, -1.0, r)
    sums = np.where(flat, stride, np.expm1(stride * safe) / np.expm1(safe))
    return float(p[:-1] @ sums), math.inf
