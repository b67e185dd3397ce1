"""The one expectation to which every hockey-stick divergence of a shuffled pair comes down.

    call(m, y) = E[(Y_m - y)_+],   Y_m = mean of m independent fair signs, 0 <= y < 1.

Given how many reports carry information (m), the likelihood ratio of the shuffled outputs is
(1 + kappa Y)/(1 - kappa Y), so P - E Q is linear in Y and the divergence is a call option on Y.

Integrating the incomplete beta function by parts gives a form without cancellation. With
tau = m (1+y)/2, j = floor(tau) + 1, f = j - tau in (0, 1], and b the pmf of Bin(m-1, 1/2):

    call = (1-y)/2 * b(j-1) * int_0^1 g(v) [2f/(1-y) + (j-1) v/(1-v) + (m-1-j) v/(1+v)] dv,
    g(v) = exp((m-1-j) log(1-v^2) + (2j-m) log(1-v)),          call = (1-y) 2^-m for j = m.

Every factor is positive and g is log-concave and analytic, so 40 Gauss-Legendre nodes give about
13 digits for every m to 1e12 and every depth of the tail, at a cost that does not depend on m; 12
give 5 digits, which is all that a wide bracket needs.
"""

from typing import NamedTuple

import numpy as np

from privacy.accounting.binomial import stirling_error


class Rule(NamedTuple):
    """A quadrature: how far the integrand is followed, and the relative error that is left."""

    nodes: np.ndarray  # on [0, 1]
    weights: np.ndarray
    cutoff: float  # the integrand is dropped below e^-cutoff of its maximum
    error: float  # of call, held against exact values in the tests


def _rule(points: int, cutoff: float, error: float) -> Rule:
    nodes, weights = np.polynomial.legendre.leggauss(points)
    return Rule((nodes + 1) / 2, weights / 2, cutoff, error)


FINE = _rule(40, 38.0, 2e-12)
COARSE = _rule(24, 27.0, 1e-9)
ROUGH = _rule(12, 15.0, 1e-5)


def log_call(
    m: np.ndarray, y: np.ndarray, z: np.ndarray | None = None, rule: Rule = FINE
) -> np.ndarray:
    """log E[(Y_m - y)_+].

    Args:
        m: whole numbers >= 1 up to about 1e13, as floats; broadcast against y.
        y: strikes, >= 0; where y >= 1 the result is minus infinity.
        z: 1 - y, where the caller knows it to more digits than 1 - y would have.
        rule: `FINE`, `COARSE` or `ROUGH`.
    """
    z = 1 - np.asarray(y, float) if z is None else z
    m, y, z = np.broadcast_arrays(np.asarray(m, float), np.asarray(y, float), np.asarray(z, float))
    live = z > 0
    if live.all():
        return _log_call(m.ravel(), y.ravel(), z.ravel(), rule).reshape(m.shape)
    out = np.full(m.shape, -np.inf)
    out[live] = _log_call(m[live], y[live], z[live], rule)
    return out


def _log_call(m, y, z, rule):
    z = np.maximum(z, 1e-290)  # beside which no delta counts
    # tau relative to m/2 or to m, whichever is nearer: at m = 1e12 tau itself has lost 4 digits
    near = y < 0.5
    base = np.where(near, m / 2, m)
    shift = np.where(near, m * y / 2, -m * z / 2)
    j = np.floor(base + shift) + 1
    f = (j - base) - shift
    j, f = np.where(f <= 0, j + 1, j), np.where(f <= 0, f + 1, f)  # base + shift was rounded
    last = j >= m
    jj = np.where(last, np.maximum(m - 1, 1), j)  # any valid stand-in
    a = np.maximum(m - 1 - jj, 0.0)
    b = np.maximum(2 * jj - m, 0.0)
    cutoff = rule.cutoff
    end = np.minimum(2 * cutoff / (b + np.sqrt(b * b + 4 * a * cutoff) + 1e-300), 1.0)
    v = end[:, None] * rule.nodes
    # log(1-v^2), not log(1-v) + log(1+v): those cancel, and a is large
    g = np.exp(a[:, None] * np.log1p(-v * v) + b[:, None] * np.log1p(-v))
    inner = (2 * f / z)[:, None] + v * ((jj - 1)[:, None] / (1 - v) + a[:, None] / (1 + v))
    total = end * ((g * inner) @ rule.weights)
    with np.errstate(divide="ignore"):
        value = np.log(z / 2 * total) + _log_pmf_half(jj - 1, m - 1)
        if not last.any():
            return value
        return np.where(last, np.log(z) - m * np.log(2.0), value)


def _log_pmf_half(k, c):
    """log Pr[Bin(c, 1/2) = k] for 0 < k < c; the exponent as a sum of small terms."""
    with np.errstate(divide="ignore", invalid="ignore"):
        x = (2 * k - c) / c
        deviance = np.where(
            np.abs(x) < 0.5,
            np.log1p(-x * x) + 2 * x * np.arctanh(np.minimum(x, 0.75)),
            (1 + x) * np.log1p(x) + (1 - x) * np.log1p(-x),
        )
        errors = stirling_error(np.stack([np.maximum(c, 1), k, c - k]))
        middle = 0.5 * np.log(c / (2 * np.pi * k * (c - k))) - c / 2 * deviance
        middle = middle + (errors[0] - errors[1] - errors[2])
    edge = -c * np.log(2.0)
    return np.where((k <= 0) | (k >= c), edge, middle)
