"""A root finder whose bracket is a certificate: both of its ends were evaluated."""

import math
from collections.abc import Callable


def bracket(
    value: Callable[[float], float],
    lo: float,
    hi: float,
    tol: float,
    guess: float | None = None,
    slope: float | None = None,
) -> tuple[float, float]:
    """(a, b) around the root of a decreasing function: value(a) > 0 >= value(b), b - a <= tol b.

    Secant steps aimed just past the root, so that both ends move; bisection when they stall. The
    ends of the interval are evaluated only where a step wants to leave it: (lo, lo) comes back
    where value(lo) <= 0, (hi, inf) where value(hi) > 0. `guess` is where to look first, `slope`
    (< 0) roughly the derivative there.
    """
    start, stop = lo, hi
    inner = guess is not None and lo < guess < hi
    x = guess if inner else lo
    below = above = False  # whether lo and hi have been evaluated
    previous, width, stalled = None, math.inf, 0
    for _ in range(200):
        f = value(x)
        if f > 0:
            if x == stop:
                return stop, math.inf
            lo, below = x, True
        else:
            if x == start:
                return start, start
            hi, above = x, True
        if below and above:
            stalled = stalled + 1 if hi - lo > 0.5 * width else 0
            width = hi - lo
            if width <= tol * hi or width <= 4e-16 * hi:
                break
        if not inner and not above:
            new = stop
        else:
            if previous is not None and previous[0] != x and math.isfinite(f - previous[1]):
                slope = (f - previous[1]) / (x - previous[0])
            if slope is not None and slope < 0 and math.isfinite(f):
                new = x - f / slope + 0.4 * tol * x * (1 if f > 0 else -1)
            elif previous is None:
                new = x * (1.05 if f > 0 else 0.95)
            else:
                new = hi if f > 0 else lo
        if below and above:
            if stalled > 3 or not lo < new < hi:
                new, stalled = 0.5 * (lo + hi), 0
        elif not lo < new < hi:
            new = hi if f > 0 else lo
        previous, x = (x, f), new
    if not below and value(lo) <= 0:
        return start, start
    if not above and value(hi) > 0:
        return stop, math.inf
    return lo, hi
