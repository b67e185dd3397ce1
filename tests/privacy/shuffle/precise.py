"""Shuffled pairs in 50-digit arithmetic (mpmath): nothing of the package is used here."""

import mpmath
from mpmath import mpf

mpmath.mp.dps = 50


def pmf(k: int, n: int, p) -> mpf:
    """Pr[Bin(n, p) = k]."""
    choose = mpmath.loggamma(n + 1) - mpmath.loggamma(k + 1) - mpmath.loggamma(n - k + 1)
    return mpmath.exp(choose + k * mpmath.log(p) + (n - k) * mpmath.log(1 - p))


def tail(j: int, n: int, p) -> mpf:
    """Pr[Bin(n, p) >= j] for j > n p: j pmf(j) int_0^1 (1-v)^(j-1) (1 + v p/q)^(n-j) dv."""
    if j > n:
        return mpf(0)
    p = mpf(p)
    odds, slope = p / (1 - p), (j - n * p) / (1 - p)
    # the integrand is below e^-(slope v + j v^2/2): this far it has lost 60 digits
    end = min(140 / (slope + mpmath.sqrt(slope**2 + 280 * j)) * 2, mpf(1))
    f = lambda v: mpmath.exp((j - 1) * mpmath.log1p(-v) + (n - j) * mpmath.log1p(v * odds))
    cuts = [end * i / 8 for i in range(9)] if end < 1 else [mpf(i) / 8 for i in range(8)] + [1]
    cuts[-1] = min(cuts[-1], 1 - mpf(10) ** -60)
    return j * pmf(j, n, p) * mpmath.quad(f, cuts)


def call(m: int, y: float) -> mpf:
    """E[(Y - y)_+], Y the mean of m fair signs: Pr[Bin(m-1, 1/2) = j-1]/2 - y Pr[Bin(m, 1/2) >= j]

    for the least j with 2 j/m - 1 > y; the sum of the signs telescopes.
    """
    y = mpf(y)
    j = int(mpmath.floor(m * (1 + y) / 2)) + 1
    if j > m:
        return mpf(0)
    half = mpf(1) / 2
    above = tail(j, m, half) if 2 * j > m else 1 - tail(m - j + 1, m, half)
    return pmf(j - 1, m - 1, half) / 2 - y * above


def delta(eps0: float, n: int, rate, eps: float) -> mpf:
    """delta(eps) of the clone pair: the sum over every number of clones within 14 sigma.

    The two-term form of each term; pmf and tail go from one number to the next by recurrence.
    """
    e0, e = mpmath.exp(mpf(eps0)), mpmath.exp(mpf(eps))
    first, second = (e0 - e) / (e0 + 1), e - 1
    share = (e * e0 - 1) / ((e0 - 1) * (e + 1))
    mean, sigma = (n - 1) * rate, mpmath.sqrt((n - 1) * rate * (1 - rate))
    c = max(int(mean - 14 * sigma), 0)
    last = min(int(mean + 14 * sigma) + 60, n - 1)
    half = mpf(1) / 2
    a = int(mpmath.floor((c + 1) * share)) + 1
    here, weight = pmf(a - 1, c, half), pmf(c, n - 1, rate)
    above = tail(a, c, half) if 2 * a > c else 1 - tail(c - a + 1, c, half)
    total, odds = mpf(0), rate / (1 - rate)
    while True:
        total += weight * max(first * here - second * above, 0)
        if c == last:
            return total
        weight *= odds * (n - 1 - c) / (c + 1)
        above += here / 2
        here *= mpf(c + 1) / (2 * (c + 2 - a))
        c += 1
        if a <= (c + 1) * share:
            here *= mpf(c + 1 - a) / a
            above -= here
            a += 1


def blanket(eps0: float, only: mpf, both: mpf, neither: mpf, n: int, eps: float) -> mpf:
    """E[(sum over n reports of R(x0) - e^eps R(x1), over the low density)_+]/n, two-level blanket.

    Reports are blank with only, only, both, neither and otherwise, so 1 - gamma, add nothing.
    """
    e0, e = mpmath.exp(mpf(eps0)), mpmath.exp(mpf(eps))
    rest = (e0 - 1) * (only + both)
    kinds = [(only, e0 - e), (only, 1 - e * e0), (both, e0 * (1 - e)), (neither, 1 - e)]

    def total(kinds, left, mass, value):
        if not kinds:
            return mass * rest**left * max(value, 0)
        (p, gain), *others = kinds
        return mpmath.fsum(
            total(others, left - k, mass * mpmath.binomial(left, k) * p**k, value + k * gain)
            for k in range(left + 1)
        )

    return total(kinds, n, mpf(1), mpf(0)) / n
