"""Hockey-stick divergence of a shuffled pair as a certified mixture of call options.

Let s be the number of reports that can tell the victim's two inputs apart (the victim's own slot
included). Every pair of this package has

    delta(eps) = front (1 + e^eps) E_s[ call(s, y_s) ],
    y_s = tanh(eps/2)/tanh(eps0/2) * (1 + ratio_s),     s - 1 ~ Bin(n-1, rate),

with ratio = 0 for the clone pairs. One more fair coin, or one more uninformative report, is
post-processing, so the terms do not increase in s: a sum over blocks of s with the left end's
value is an upper bound, with the right end's a lower bound, and the two close up as the blocks
shrink. With as many blocks as there are whole numbers in the window both are the sum itself.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from privacy.accounting import roots
from privacy.shuffle import option


class Terms(NamedTuple):
    """sum_i weight_i * call(size_i, strike (1 + ratio_i))."""

    weight: np.ndarray
    size: np.ndarray
    ratio: np.ndarray | float


class Mixture(NamedTuple):
    """Two-sided: what lies outside the window is bounded by `left` and `right`."""

    eps0: float
    front: float
    upper: Terms
    lower: Terms
    left: float  # probability of s left of the window; its call is at most call(1, strike)
    right: float  # probability of s right of it; the same holds there
    exact: bool  # one block per whole number: more blocks change nothing
    chained: bool = False  # ratios are 0, and the lower sizes are the upper ones shifted by one


def budget(n: float) -> float:
    """Relative error allowed for floating point: the quadrature, the pmf and the sum."""
    return 1e-12 * (8 + math.log2(n + 1))


def strike(eps: np.ndarray | float, eps0: float) -> tuple[np.ndarray, np.ndarray]:
    """(y, 1 - y) with y = tanh(eps/2)/tanh(eps0/2), both to full relative accuracy."""
    eps = np.asarray(eps, float)
    y = np.tanh(eps / 2) / np.tanh(eps0 / 2)
    gap = -np.expm1(eps - eps0)
    z = 2 * np.exp(-eps) * gap / ((1 + np.exp(-eps)) * -np.expm1(-eps0))
    return y, np.where(y < 0.5, 1 - y, z)


def _log_calls(size, ratio, eps, eps0, rule):
    """(values, peak): call of each term at each eps (a vector), over e^peak."""
    y0, z0 = strike(eps[:, None], eps0)
    logs = option.log_call(size, y0 * (1 + ratio), z0 - ratio * y0, rule)
    peak = np.max(logs, axis=1, keepdims=True)
    peak = np.where(np.isfinite(peak), peak, 0.0)
    return np.exp(logs - peak), peak[:, 0]


# Beyond e^600 the two factors of delta leave double range.
FAR = 600.0


def log_bounds(
    mixture: Mixture, eps: np.ndarray | float, rule: option.Rule = option.FINE
) -> tuple[np.ndarray, np.ndarray]:
    """log of the (lower, upper) bound of delta at a vector of eps in [0, eps0).

    Floating-point error is not yet allowed for; `bracket` and `solve` do. Beyond `FAR` delta is
    bounded by its value there, since it falls with eps, by what eps0 alone gives, and from below
    by its first term, the one without any clone. What is not a number bounds nothing.
    """
    asked = np.atleast_1d(np.asarray(eps, float))
    eps = np.minimum(asked, FAR)
    up, low, eps0 = mixture.upper, mixture.lower, mixture.eps0
    with np.errstate(divide="ignore"):
        if mixture.exact:
            values, peak = _log_calls(up.size, up.ratio, eps, eps0, rule)
            high_log = low_log = np.log(values @ up.weight) + peak
        elif mixture.chained:
            sizes = np.append(up.size, low.size[-1])
            values, peak = _log_calls(sizes, 0.0, eps, eps0, rule)
            high_log = np.log(values[:, :-1] @ up.weight) + peak
            low_log = np.log(values[:, 1:] @ low.weight) + peak
        else:
            values, peak = _log_calls(up.size, up.ratio, eps, eps0, rule)
            high_log = np.log(values @ up.weight) + peak
            values, peak = _log_calls(low.size, low.ratio, eps, eps0, rule)
            low_log = np.log(values @ low.weight) + peak
        _, z = strike(eps, eps0)
        outside = np.log((mixture.left + mixture.right) * np.maximum(z, 0.0) / 2)
    scale = math.log(mixture.front) + np.logaddexp(0.0, eps)
    dead, far = asked >= eps0, asked > FAR
    high_log = np.minimum(np.logaddexp(high_log, outside) + scale, 0.0)
    low_log = low_log + scale
    if far.any():
        with np.errstate(divide="ignore"):
            alone = np.log(-np.expm1(np.minimum(asked - eps0, 0.0)))  # of any eps0-DP mechanism
            # (1 + e^eps) call(1, y) = (1 - e^(eps - eps0))/(1 - e^-eps0)
            first = np.log(float(low.weight[0])) if low.size[0] == 1 else -np.inf
        high_log = np.where(far, np.minimum(high_log, alone), high_log)
        low_log = np.where(far, math.log(mixture.front) + first + alone, low_log)
    low_log = np.where(dead | np.isnan(low_log), -np.inf, low_log)
    return low_log, np.where(dead, -np.inf, np.where(np.isnan(high_log), 0.0, high_log))


def bracket(
    mixture: Mixture, eps: np.ndarray | float, n: float, rule: option.Rule = option.FINE
) -> tuple[np.ndarray, np.ndarray]:
    """Certified (lower, upper) of delta at a vector of eps."""
    slack = budget(n) + rule.error
    low, high = log_bounds(mixture, eps, rule)
    return np.exp(low) * (1 - slack), np.minimum(np.exp(high) * (1 + slack), 1.0)


Maker = Callable[[int, float], Mixture]
"""(blocks, exponent) -> Mixture whose window leaves at most e^-exponent on each side"""


def delta(
    make: Maker, eps0: float, n: float, eps: float, rtol: float, *, blocks: int = 64, most=1 << 18
) -> tuple[float, float]:
    """Certified (lower, upper) of delta(eps); blocks are added until they are within rtol."""
    if eps >= eps0:
        return 0.0, 0.0
    exponent = 40.0
    while True:
        part = make(blocks, exponent)
        low, high = (float(v[0]) for v in bracket(part, np.array([eps]), n))
        needed = 30.0 - math.log(max(low, 1e-300))
        if eps > FAR or high <= low * (1 + rtol) or (blocks >= most and needed <= exponent + 1):
            return low, high
        if needed > exponent + 1:
            exponent = needed
        elif part.exact:
            return low, high
        else:
            blocks *= 4


class Solution(NamedTuple):
    """A certified bracket of an epsilon."""

    lower: float
    upper: float
    exact: bool


def solve(
    make: Maker,
    eps0: float,
    n: float,
    delta: float,
    *,
    rtol: float = 1e-3,
    most: int = 1 << 16,
    guess: tuple[float, float] | None = None,
    blocks: int = 48,
) -> Solution:
    """Certified (lower, upper) of the eps at which the mixture's delta equals `delta`.

    Args:
        make: what is solved.
        eps0, n, delta: as everywhere.
        rtol: blocks and quadrature nodes are added until upper/lower - 1 <= rtol, or the sum is
            exact, or there are `most` blocks.
        guess: (eps, slope of log delta there), where to look first.
        blocks: how many to begin with.
    """
    exponent = (16.0 if rtol >= 1e-4 else 25.0) - math.log(delta)
    last = eps0 * (1 - 1e-12)  # beyond, the local guarantee is given
    tol = min(rtol / 8, 1e-3)
    rules = [option.ROUGH, option.COARSE, option.FINE] if rtol >= 1e-4 else [option.FINE]
    best = Solution(0.0, eps0, False)
    x, slope = guess or (None, None)
    mixture = make(blocks, exponent)
    while True:
        slack = budget(n) + rules[0].error
        seen: dict[float, tuple[float, float]] = {}

        def both(eps, mixture=mixture, slack=slack, seen=seen, rule=rules[0]):
            if eps not in seen:
                low, high = log_bounds(mixture, eps, rule)
                seen[eps] = (
                    float(low[0]) - slack - math.log(delta),
                    float(high[0]) + slack - math.log(delta),
                )
            return seen[eps]

        inner, upper = roots.bracket(lambda eps, f=both: f(eps)[1], 0.0, last, tol, x, slope)
        if upper == 0.0:
            return Solution(0.0, 0.0, True)
        if math.isinf(upper):
            upper, start = eps0, last
        else:
            start = upper
            slope = (both(upper)[1] - both(inner)[1]) / (upper - inner) if upper > inner else slope
        value = both(start)[0]
        if value > 0:
            lower = start
        else:
            x = start + value / -slope if slope else None
            x = x - 0.3 * tol * x if x is not None and 0 < x < start else 0.9 * start
            lower = roots.bracket(lambda eps, f=both: f(eps)[0], 0.0, start, tol, x, slope)[0]
        best = Solution(max(best.lower, lower), min(best.upper, upper), mixture.exact)
        if best.upper <= best.lower * (1 + rtol):
            return best
        # which of the two is too coarse: the quadrature, or the blocks
        x = 0.5 * (lower + upper) if lower > 0 else upper
        low, high = both(upper) if upper < eps0 else both(start)
        if len(rules) > 1 and 4 * slack > 0.5 * (high - low):
            del rules[0]
        elif mixture.exact or blocks >= most:
            if len(rules) == 1:
                return best
            del rules[0]
        else:
            grow = (upper / lower - 1) / rtol if lower > 0 else 16.0
            blocks = int(min(most, max(2 * blocks, blocks * min(1.4 * grow, 64.0))))
            mixture = make(blocks, exponent)
