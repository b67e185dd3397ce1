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


def _sum(terms: Terms, eps, eps0, coarse):
    """log sum_i weight_i call_i for each eps (a vector)."""
    y0, z0 = strike(eps[:, None], eps0)
    y, z = y0 * (1 + terms.ratio), z0 - terms.ratio * y0
    logs = option.log_call(terms.size, y, z, coarse=coarse)
    peak = np.max(logs, axis=1, keepdims=True)
    peak = np.where(np.isfinite(peak), peak, 0.0)
    with np.errstate(divide="ignore"):
        return np.log(np.exp(logs - peak) @ terms.weight) + peak[:, 0]


def log_delta(
    mixture: Mixture, eps: np.ndarray | float, side: str, *, coarse: bool = False
) -> np.ndarray:
    """log of the certified upper or lower bound of delta(eps), for a vector of eps in [0, eps0).

    Floating-point error is not yet allowed for; `bracket` does.
    """
    eps = np.atleast_1d(np.asarray(eps, float))
    terms = mixture.upper if side == "upper" else mixture.lower
    total = _sum(terms, eps, mixture.eps0, coarse)
    scale = math.log(mixture.front) + np.logaddexp(0.0, eps)
    if side == "upper":
        _, z = strike(eps, mixture.eps0)
        with np.errstate(divide="ignore"):
            outside = np.log(mixture.left + mixture.right) + np.log(np.maximum(z, 0.0) / 2)
        total = np.logaddexp(total, outside)
    return np.where(eps >= mixture.eps0, -np.inf, np.minimum(total + scale, 0.0))


def bracket(
    mixture: Mixture, eps: np.ndarray | float, n: float, *, coarse: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Certified (lower, upper) of delta at a vector of eps."""
    slack = budget(n) + (option.COARSE_ERROR if coarse else 0.0)
    eps = np.atleast_1d(np.asarray(eps, float))
    up, low = mixture.upper, mixture.lower
    if np.ndim(up.ratio) == 0 and np.ndim(low.ratio) == 0 and up.ratio == low.ratio == 0:
        high_log, low_log = _both(mixture, eps, coarse)
    else:
        high_log = log_delta(mixture, eps, "upper", coarse=coarse)
        low_log = log_delta(mixture, eps, "lower", coarse=coarse)
    return np.exp(low_log) * (1 - slack), np.minimum(np.exp(high_log) * (1 + slack), 1.0)


def _both(mixture, eps, coarse):
    """log (upper, lower) when the strike is one for all sizes: the blocks share their ends."""
    sizes, where = np.unique(
        np.concatenate([mixture.upper.size, mixture.lower.size]), return_inverse=True
    )
    y, z = strike(eps[:, None], mixture.eps0)
    logs = option.log_call(sizes, y, z, coarse=coarse)
    peak = np.max(logs, axis=1, keepdims=True)
    peak = np.where(np.isfinite(peak), peak, 0.0)
    values = np.exp(logs - peak)
    cut = mixture.upper.size.size
    with np.errstate(divide="ignore"):
        outside = np.log(mixture.left + mixture.right) + np.log(np.maximum(z[:, 0], 0.0) / 2)
        high = np.log(values[:, where[:cut]] @ mixture.upper.weight) + peak[:, 0]
        low = np.log(values[:, where[cut:]] @ mixture.lower.weight) + peak[:, 0]
    scale = math.log(mixture.front) + np.logaddexp(0.0, eps)
    dead = eps >= mixture.eps0
    high = np.where(dead, -np.inf, np.minimum(np.logaddexp(high, outside) + scale, 0.0))
    return high, np.where(dead, -np.inf, low + scale)


def root(value: Callable[[float], float], lo: float, hi: float, tol: float, guess: float | None):
    """(a, b) around the root of a decreasing function: value(a) > 0 >= value(b), b - a <= tol b.

    Secant steps aimed just past the root, so that both ends move; bisection when they stall.
    """
    f_lo, f_hi = value(lo), None
    if f_lo <= 0:
        return lo, lo
    f_hi = value(hi)
    if f_hi > 0:
        return hi, math.inf
    x = guess if guess is not None and lo < guess < hi else 0.5 * (lo + hi)
    previous = hi - lo
    for step in range(200):
        f = value(x)
        last = (x, f)
        if f > 0:
            lo, f_lo = x, f
        else:
            hi, f_hi = x, f
        width = hi - lo
        if width <= tol * hi or width <= 4e-16 * hi:
            break
        x = None
        if (width < 0.7 * previous or step < 2) and math.isfinite(f_hi) and f_lo != f_hi:
            x = lo + width * f_lo / (f_lo - f_hi)
            # land on the other side of the end that has just moved
            nudge = 0.4 * tol * hi
            x = x + nudge if last[0] == lo else x - nudge
        previous = width
        if x is None or not lo < x < hi:
            x = 0.5 * (lo + hi)
    return lo, hi


class Solution(NamedTuple):
    """A certified bracket of an epsilon."""

    lower: float
    upper: float
    exact: bool


def solve(
    make: Callable[[int, float], Mixture],
    eps0: float,
    n: float,
    delta: float,
    *,
    rtol: float = 1e-3,
    most: int = 1 << 16,
    guess: float | None = None,
    blocks: int = 64,
) -> Solution:
    """Certified (lower, upper) of the eps at which the mixture's delta equals `delta`.

    Args:
        make: (blocks, exponent) -> Mixture whose window leaves at most e^-exponent on each side.
        eps0, n, delta: as everywhere.
        rtol: blocks are added until upper/lower - 1 <= rtol, or the sum is exact, or there are
            `most` of them.
        guess: where to look first.
        blocks: how many blocks to begin with.
    """
    slack = budget(n)
    target_up, target_lo = math.log(delta) - slack, math.log(delta) + slack
    exponent = 25.0 - math.log(delta)
    # beyond e^600 the two factors of delta leave double range: there the local guarantee is given
    last = min(eps0 * (1 - 1e-12), 600.0)
    tol = min(rtol / 8, 1e-3)
    while True:
        mixture = make(blocks, exponent)
        above = lambda x, m=mixture: float(log_delta(m, x, "upper")[0]) - target_up
        below = lambda x, m=mixture: float(log_delta(m, x, "lower")[0]) - target_lo
        _, upper = root(above, 0.0, last, tol, guess)
        if upper == 0.0:
            return Solution(0.0, 0.0, True)
        upper = eps0 if upper > last else upper
        start = min(upper, last)
        near = start * (1 - 1.5 * rtol)
        if below(near) > 0:
            lower = root(below, near, start, tol, start * (1 - 0.3 * tol))[0]
        else:
            lower = root(below, 0.0, near, tol, near * (1 - rtol))[0]
            if below(0.0) <= 0:
                lower = 0.0
        gap = upper / lower - 1 if lower > 0 else math.inf
        if gap <= rtol or mixture.exact or blocks >= most:
            return Solution(lower, upper, mixture.exact)
        grow = gap / rtol if math.isfinite(gap) else 16.0
        blocks = int(min(most, max(2 * blocks, blocks * min(1.4 * grow, 64.0))))
        guess = 0.5 * (lower + upper)
