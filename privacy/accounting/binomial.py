"""Binomial probabilities that keep their digits to n = 1e12.

A library's binomial distribution loses about log10(sqrt(n)) digits, because it evaluates
differences of large logarithms. Here the pmf is Loader's saddle-point form, whose exponent is a
sum of small terms of one sign, and a tail is the pmf times a ratio that is an integral of a
positive, log-concave, analytic function, taken by Gauss-Legendre quadrature. Both are good to
about 1e-15 * (1 + |log pmf|); the tests hold them against 40-digit arithmetic.

Reference: Loader, Fast and accurate computation of binomial probabilities, 2000.
"""

import math
from typing import NamedTuple

import numpy as np

NODES, WEIGHTS = np.polynomial.legendre.leggauss(48)
NODES, WEIGHTS = (NODES + 1) / 2, WEIGHTS / 2  # on [0, 1]
CUTOFF = 42.0  # the integrand is dropped below e^-42 of its maximum


class Binomial(NamedTuple):
    """Bin(n, p), with 1 - p given apart because it may be tiny."""

    n: float | np.ndarray  # whole number of draws, or an array of them
    p: float
    q: float  # 1 - p

    @property
    def mean(self) -> float | np.ndarray:
        return self.n * self.p if self.p <= 0.5 else self.n - self.n * self.q

    @property
    def sigma(self) -> float | np.ndarray:
        return np.sqrt(self.n * self.p * self.q)


def log1pmx(x: np.ndarray | float) -> np.ndarray:
    """log(1 + x) - x without cancellation.

    With r = x/(2+x): log(1+x) = 2 atanh(r) and 2r - x = -r x.
    """
    x = np.asarray(x, float)
    r = np.minimum(x, 1.0)
    r = r / (2 + r)
    r2 = r * r
    tail = 1 / 17 + r2 / 19
    for k in (15, 13, 11, 9, 7, 5, 3):
        tail = 1 / k + r2 * tail
    small = r * (2 * r2 * tail - x)
    close = np.abs(x) < 0.2
    if close.all():
        return small
    with np.errstate(divide="ignore"):
        return np.where(close, small, np.log1p(x) - x)


_STIRLING = np.array(
    [0.0, *(math.lgamma(k + 1) - (k + 0.5) * math.log(k) + k for k in range(1, 16))]
) - 0.5 * math.log(2 * math.pi)


def stirling_error(k: np.ndarray) -> np.ndarray:
    """log k! - log(sqrt(2 pi k) (k/e)^k) for whole k >= 1."""
    k = np.asarray(k, float)
    safe = np.maximum(k, 16.0)
    s = 1 / (safe * safe)
    series = (1 / 12 - s * (1 / 360 - s * (1 / 1260 - s * (1 / 1680 - s / 1188)))) / safe
    return np.where(k < 16, _STIRLING[np.minimum(k, 15).astype(int)], series)


def _deviance(k, mean, difference):
    """k log(k/mean) - (k - mean), where difference = k - mean."""
    t = difference / mean
    close = np.abs(t) < 0.2
    if close.all():
        return mean * ((1 + t) * log1pmx(t) + t * t)
    small = np.where(close, t, 0.0)
    near = (1 + small) * log1pmx(small) + small * small
    with np.errstate(divide="ignore", invalid="ignore"):
        return mean * np.where(close, near, (1 + t) * np.log1p(t) - t)


def deviations(k: np.ndarray, law: Binomial) -> tuple:
    """(k - n p, n p, n q), consistent to the last digit with one slightly moved p."""
    if law.p <= 0.5:
        mean = law.n * law.p
        return k - mean, mean, law.n - mean
    rest = law.n * law.q
    return rest - (law.n - k), law.n - rest, rest


def log_pmf(k: np.ndarray, law: Binomial) -> np.ndarray:
    """log Pr[Bin(n, p) = k] for whole k in 0..n (minus infinity outside); n may be an array."""
    k, n = np.broadcast_arrays(np.asarray(k, float), np.asarray(law.n, float))
    if law.p <= 0:
        return np.where(k == 0, 0.0, -np.inf)
    if law.q <= 0:
        return np.where(k == n, 0.0, -np.inf)
    inside = (k > 0) & (k < n)
    kk, nn = np.where(inside, k, 1.0), np.where(inside, n, 2.0)
    difference, mean, rest = deviations(kk, law._replace(n=nn))
    value = (
        0.5 * np.log(nn / (2 * np.pi * kk * (nn - kk)))
        + (stirling_error(nn) - stirling_error(kk) - stirling_error(nn - kk))
        - _deviance(kk, mean, difference)
        - _deviance(nn - kk, rest, -difference)
    )
    ends = np.where(k == 0, n * _log(law.q, law.p), n * _log(law.p, law.q))
    value = np.where(inside, value, ends)
    return np.where((k < 0) | (k > n), -np.inf, value)


def log_poisson(k: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """log Pr[Poisson(mean) = k] for whole k (minus infinity below 0), mean > 0."""
    k, mean = np.broadcast_arrays(np.asarray(k, float), np.asarray(mean, float))
    kk = np.where(k > 0, k, 1.0)
    value = -0.5 * np.log(2 * np.pi * kk) - stirling_error(kk) - _deviance(kk, mean, kk - mean)
    return np.where(k > 0, value, np.where(k == 0, -mean, -np.inf))


def _log(p, q):
    """log p, where p = 1 - q."""
    return math.log1p(-q) if q < 0.5 else math.log(p)


def _upper(j: np.ndarray, law: Binomial) -> np.ndarray:
    """Pr[Bin(n, p) >= j] for whole j in (mean, n].

    = j pmf(j) int_0^1 (1-v)^(j-1) (1 + v p/q)^(n-j) dv, the incomplete beta function with
    u = p (1-v); the exponent is written as a sum of terms of one sign.
    """
    difference, _, _ = deviations(j, law)
    theta = law.p / law.q
    slope = difference / law.q - 1
    a, b = j - 1, law.n - j

    def exponent(v):
        return slope * v - a * log1pmx(-v) - b * log1pmx(theta * v)

    curve = np.maximum(a + b * theta * theta, 1e-300)
    with np.errstate(divide="ignore"):  # a sum that rounds to 0 has its root beyond 1
        end = 2 * CUTOFF / (slope + np.sqrt(slope * slope + 2 * CUTOFF * curve))
    end = np.minimum(end, 1.0)
    for _ in range(2):  # the exponent is convex: Newton ends right of its root, never short of it
        gradient = slope + a * end / np.maximum(1 - end, 1e-12)
        gradient = gradient + b * theta * theta * end / (1 + theta * end)
        with np.errstate(divide="ignore", invalid="ignore"):
            step = (exponent(np.minimum(end, 1 - 1e-12)) - CUTOFF) / np.maximum(gradient, 1e-300)
        end = np.clip(end - step, 1e-300, 1.0)
    v = end[..., None] * NODES
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        parts = (
            slope[..., None] * v
            - _times(a[..., None], log1pmx(-v))
            - _times(b[..., None], log1pmx(theta * v))
        )
    ratio = j * end * (np.exp(-parts) @ WEIGHTS)
    return np.exp(log_pmf(j, law)) * ratio


def _times(a, x):
    """a * x with 0 * infinity = 0."""
    return np.where(a == 0, 0.0, a * x)


def tails(j: np.ndarray, law: Binomial) -> tuple[np.ndarray, np.ndarray]:
    """(Pr[C < j], Pr[C >= j]) of C ~ Bin(n, p): the smaller one to full relative accuracy.

    n may be an array that broadcasts against j.
    """
    j, n = np.broadcast_arrays(np.atleast_1d(np.asarray(j, float)), np.asarray(law.n, float))
    if law.p <= 0 or law.q <= 0:
        below = (j > (0 if law.p <= 0 else n)).astype(float)
        return below, 1 - below
    below = np.where(j > n, 1.0, 0.0)
    above = 1 - below
    open_ = (j > 0) & (j <= n)
    right = open_ & (j > law._replace(n=n).mean)
    if right.any():
        above[right] = np.minimum(_upper(j[right], law._replace(n=n[right])), 1.0)
        below[right] = 1 - above[right]
        last = right & (j == n)  # beyond the mean, and yet the likelier one where p is nearly 1
        below[last] = -np.expm1(n[last] * _log(law.p, law.q))
    left = open_ & ~right
    if left.any():
        # Pr[C < j] = Pr[n - C >= n - j + 1], an upper tail of Bin(n, q)
        mirror = Binomial(n[left], law.q, law.p)
        below[left] = np.minimum(_upper(n[left] - j[left] + 1, mirror), 1.0)
        above[left] = 1 - below[left]
    return below, above


def masses(edges: np.ndarray, law: Binomial) -> np.ndarray:
    """Pr[edges[b] <= C < edges[b+1]] for each b (along the last axis)."""
    return between(edges, *tails(edges, law), law)


def between(edges: np.ndarray, below: np.ndarray, above: np.ndarray, law: Binomial) -> np.ndarray:
    """`masses`, where the tails at the edges are known."""
    low, high = np.diff(below, axis=-1), -np.diff(above, axis=-1)
    return np.maximum(np.where(edges[..., :-1] <= law.mean, low, high), 0.0)


def window(law: Binomial, exponent: float) -> tuple[float, float]:
    """(lo, hi): whole numbers with Pr[C < lo] and Pr[C > hi] each at most e^-exponent.

    Bernstein: Pr[|C - np| >= t, one side] <= exp(-t^2/(2 (npq + t/3))); below the mean also
    exp(-t^2/(2 np)).
    """
    n = law.n
    if law.p <= 0 or n == 0:
        return 0.0, 0.0
    if law.q <= 0:
        return n, n
    mean, rest = (n * law.p, n - n * law.p) if law.p <= 0.5 else (n - n * law.q, n * law.q)
    third = exponent / 3
    reach = third + math.sqrt(third * third + 2 * n * law.p * law.q * exponent)
    below = min(reach, math.sqrt(2 * mean * exponent)) + 1
    above = min(reach, math.sqrt(2 * rest * exponent)) + 1
    lo = max(math.floor(mean - below), 0.0)
    return float(lo), float(max(min(math.ceil(mean + above), n), lo))
