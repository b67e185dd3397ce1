"""Renyi accounting: curves over real orders, composition by addition, conversion both ways."""

from collections.abc import Callable

import numpy as np

from privacy.accounting.errors import PrivacyError, positive, probability

ORDERS = 1 + np.geomspace(1e-2, 1e5, 160)
"""Orders that are looked at first; the best one is then refined."""

Curve = Callable[[float], float]
"""alpha > 1 -> an upper bound of the Renyi divergence of that order, in nats"""


def epsilon_at(
    alpha: np.ndarray | float, rdp: np.ndarray | float, delta: float
) -> np.ndarray | float:
    """eps of (alpha, rdp)-RDP at delta.

    eps = rdp + log((alpha-1)/alpha) - (log delta + log alpha)/(alpha-1)
    [Canonne, Kamath, Steinke, NeurIPS 2020, Proposition 12].
    """
    s = alpha - 1
    return rdp + np.log1p(-1 / alpha) - (np.log(delta) + np.log(alpha)) / s


def log_delta_at(
    alpha: np.ndarray | float, rdp: np.ndarray | float, eps: float
) -> np.ndarray | float:
    """log of the delta of (alpha, rdp)-RDP at eps: the same proposition, solved for delta."""
    s = alpha - 1
    return s * (rdp - eps) - np.log(s) + alpha * np.log1p(-1 / alpha)


def _best(objective, orders) -> tuple[float, float]:
    """(order, value) of the smallest objective: the best of `orders`, then golden section."""
    values = np.array([objective(a) for a in orders])
    if not np.isfinite(values).any():
        return float(orders[0]), float("inf")
    i = int(np.nanargmin(np.where(np.isfinite(values), values, np.inf)))
    lo, hi = orders[max(i - 1, 0)], orders[min(i + 1, len(orders) - 1)]
    best = (float(orders[i]), float(values[i]))
    ratio = (np.sqrt(5) - 1) / 2
    lo, hi = np.log(lo - 1), np.log(hi - 1)
    for _ in range(12):
        a, b = hi - ratio * (hi - lo), lo + ratio * (hi - lo)
        fa, fb = objective(1 + np.exp(a)), objective(1 + np.exp(b))
        best = min(best, (1 + np.exp(a), fa), (1 + np.exp(b), fb), key=lambda p: p[1])
        lo, hi = (lo, b) if fa <= fb else (a, hi)
    return float(best[0]), float(best[1])


def epsilon(curve: Curve, delta: float, orders: np.ndarray = ORDERS) -> tuple[float, float]:
    """(eps, the order that gives it), eps >= 0.

    Example:
        >>> eps, order = epsilon(lambda alpha: alpha * 0.01 / 2, 1e-5)
        >>> round(eps, 3), 40 < order < 60
        (0.375, True)
    """
    delta = probability("delta", delta)
    order, value = _best(lambda a: float(epsilon_at(a, curve(a), delta)), orders)
    return max(value, 0.0), order


def delta(curve: Curve, eps: float, orders: np.ndarray = ORDERS) -> tuple[float, float]:
    """(delta, the order that gives it), delta <= 1."""
    order, value = _best(lambda a: float(log_delta_at(a, curve(a), eps)), orders)
    return float(min(np.exp(min(value, 0.0)), 1.0)), order


def gaussian(alpha: float, mu: float) -> float:
    """Renyi divergence of N(mu, 1) from N(0, 1): alpha mu^2 / 2 [Mironov, CSF 2017]."""
    return alpha * mu * mu / 2


def sampled_gaussian(alpha: float, noise_multiplier: float, rate: float) -> float:
    """Renyi divergence of the Poisson-sampled Gaussian, add-or-remove neighbours, real order.

    log E_{x ~ N(0, s^2)}[(1 - q + q e^((2x-1)/(2 s^2)))^alpha] / (alpha - 1), the larger of the
    two directions [Mironov, Talwar, Zhang 2019, Theorem 5], by the trapezoidal rule, which is
    exact to rounding for an analytic integrand.
    """
    s = positive("noise_multiplier", noise_multiplier)
    if rate == 0:
        return 0.0
    if rate == 1:
        return gaussian(alpha, 1 / s)
    width = 40 * s
    step = min(s, s * s) / 12
    points = int((alpha + 2 * width) / step) + 2
    if points > 20_000_000:
        raise PrivacyError(
            f"the order {alpha:g} at noise multiplier {s:g} is out of reach of the quadrature; use"
            " the loss distribution."
        )
    x = -width + step * np.arange(points)
    ratio = np.logaddexp(np.log1p(-rate), np.log(rate) + (2 * x - 1) / (2 * s * s))
    logs = -x * x / (2 * s * s) + alpha * ratio
    total = np.logaddexp.reduce(logs) + np.log(step / (s * np.sqrt(2 * np.pi)))
    return max(float(total), 0.0) / (alpha - 1)
