"""Renyi accounting: curves over real orders, composition by addition, conversion both ways."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from privacy.accounting.errors import PrivacyError, non_negative, positive, probability
from privacy.accounting.profile import Profile

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
    """(delta, the order that gives it), eps >= 0, delta <= 1."""
    eps = non_negative("eps", eps)
    order, value = _best(lambda a: float(log_delta_at(a, curve(a), eps)), orders)
    return float(min(np.exp(min(value, 0.0)), 1.0)), order


def gaussian(alpha: float, mu: float) -> float:
    """Renyi divergence of N(mu, 1) from N(0, 1): alpha mu^2 / 2 [Mironov, CSF 2017]."""
    return alpha * mu * mu / 2


def laplace(alpha: float, mu: float) -> float:
    """Renyi divergence of Laplace(mu, 1) from Laplace(0, 1) [Mironov, CSF 2017, Table II]."""
    s = alpha - 1
    if s * mu > 1:
        ends = [np.log(alpha / (2 * alpha - 1)) + s * mu, np.log(s / (2 * alpha - 1)) - alpha * mu]
        return float(np.logaddexp(*ends)) / s
    # 1 + (alpha (e^(s mu) - 1 - s mu) + s (e^(-alpha mu) - 1 + alpha mu))/(2 alpha - 1)
    above = alpha * _beyond_linear(s * mu) + s * _beyond_linear(-alpha * mu)
    return float(np.log1p(above / (2 * alpha - 1))) / s


def pure(alpha: float, eps: float) -> float:
    """Renyi divergence of binary randomized response at eps, the largest that eps-DP allows
    [Kairouz, Oh, Viswanath, ICML 2015; Mironov, CSF 2017, Table II]."""
    s = alpha - 1
    # cosh((alpha - 1/2) eps)/cosh(eps/2) = 1 + (e^(s eps) - 1) share, written without cancellation
    share = -np.expm1(-alpha * eps) / (1 + np.exp(-eps))
    if s * eps <= 1:
        return float(np.log1p(np.expm1(s * eps) * share)) / s
    return eps + float(np.log(share + (1 - share) * np.exp(-s * eps))) / s


def _beyond_linear(x):
    """e^x - 1 - x without cancellation, |x| up to some hundreds."""
    if abs(x) > 0.5:
        return np.expm1(x) - x
    total = 1.0
    for k in range(16, 2, -1):
        total = 1 + x / k * total
    return x * x / 2 * total


def sampled_gaussian(alpha: float, noise_multiplier: float, rate: float) -> float:
    """Renyi divergence of the Poisson-sampled Gaussian, add-or-remove neighbours, real order.

    log E_{x ~ N(0, s^2)}[(1 + z)^alpha] / (alpha - 1), z = q (e^((2x-1)/(2 s^2)) - 1), the larger
    of the two directions [Mironov, Talwar, Zhang 2019, Theorem 5], rounded up. E[z] = 0, so it is
    (1 + z)^alpha - 1 - alpha z >= 0 that is summed, by the trapezoidal rule, which is exact to
    rounding for an analytic integrand: no digit is lost however small q is.
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
    u = (2 * x - 1) / (2 * s * s)
    weight = -x * x / (2 * s * s) + np.log(step / (s * np.sqrt(2 * np.pi)))
    far = int(np.searchsorted(u, 1.0))
    log_ratio = np.log(rate) + u[far:]
    log_ratio += np.log1p((1 - rate) * np.exp(-log_ratio))
    low, high = (rate * np.expm1(np.minimum(part, 300.0)) for part in (u[:far], u[far:]))
    total = np.logaddexp(
        _log_sum(weight[:far] + _log_above_tangent(low, np.log1p(low), alpha)),
        _log_sum(weight[far:] + _log_above_tangent(high, log_ratio, alpha)),
    )
    # every exponent is rounded, relatively; so are 1 + z and its power near the tangent
    largest = np.log1p(rate * np.expm1(u[-1])) if u[-1] < 1 else log_ratio[-1]
    total += 1e-15 * (1000 + 100 / (alpha - 1) + alpha * float(largest))
    return float(np.logaddexp(0.0, total)) / (alpha - 1) * (1 + 1e-15)


def _log_sum(logs):
    if logs.size == 0:
        return -np.inf
    peak = logs.max()
    return peak + np.log(np.exp(logs - peak).sum())


def _log_above_tangent(z, log_ratio, alpha):
    """log of (1 + z)^alpha - 1 - alpha z for rising z > -1, given log_ratio = log(1 + z)."""
    first, last = np.searchsorted(z, [-0.01 / alpha, 0.01 / alpha])
    small = z[first:last]
    series = 1.0  # C(alpha, 2) z^2 (1 + (alpha-2)/3 z (1 + (alpha-3)/4 z (1 + ..)))
    for k in range(9, 1, -1):
        series = 1 + (alpha - k) / (k + 1) * small * series
    with np.errstate(divide="ignore"):
        near = 2 * np.log(np.abs(small)) + np.log(alpha * (alpha - 1) / 2 * series)
    away = np.concatenate([z[:first], z[last:]])
    power = alpha * np.concatenate([log_ratio[:first], log_ratio[last:]])
    rest = power + np.log1p(-(1 + alpha * away) * np.exp(-power))
    return np.concatenate([rest[:first], near, rest[first:]])


def visible(alpha: float, rdp: float, rate: float) -> float:
    """Renyi divergence of a round in which a user takes part, seen by all, with probability `rate`.

    log(1 - q + q e^((alpha-1) rdp))/(alpha-1): given who takes part the loss is the round's or 0.
    """
    s = alpha - 1
    if rate == 1 or s * rdp > 700:
        return rdp + min(np.log(rate) / s, 0.0) + (np.exp(-700.0) if rate < 1 else 0.0)
    return float(np.log1p(rate * np.expm1(s * rdp)) / s)


class Table(NamedTuple):
    """A privacy profile at points 0 = t_0 < t_1 < .. < t_k, where it is 0 from t_k on."""

    eps: np.ndarray
    low: np.ndarray
    high: np.ndarray


def table(profile: Profile, points: int = 1200) -> Table:
    """The values of a profile from which `of_table` bounds its Renyi divergences.

    Raises:
        PrivacyError: the profile has two directions, or never falls to 0.
    """
    if profile.backward is not None or not np.isfinite(profile.reach):
        raise PrivacyError(
            "only a mirror-symmetric profile of finite reach has its Renyi form here; compose this"
            " one by loss distributions (Ledger.epsilon)."
        )
    reach = profile.reach
    dense = min(12 * profile.scale(), reach)
    probe = np.concatenate([np.linspace(0, dense, 200), np.linspace(dense, reach, 200)[1:]])
    fall = -np.log(np.maximum(np.minimum.accumulate(profile.forward(probe)[1]), 1e-280))
    # where delta falls by as much there are as many points, and no stretch goes without
    length = fall - fall[0]
    length = 2 * length / max(length[-1], 1e-300) + np.minimum(probe / dense, 1) + probe / reach
    eps = np.interp(np.linspace(0, length[-1], points), length, probe)
    eps = np.unique(np.concatenate([eps, [0.0, reach]]))
    parts = np.array_split(eps, max(eps.size // 64, 1))  # a profile may need much memory for each
    low, high = np.concatenate([np.stack(profile.forward(part)) for part in parts], axis=1)
    low, high = np.minimum(low, high), np.minimum.accumulate(high)
    return Table(eps, np.append(low[:-1], 0.0), np.append(high[:-1], 0.0))


def of_table(alpha: float, table: Table) -> tuple[float, float]:
    """Certified (lower, upper) of the Renyi divergence of the pair that a profile belongs to.

    e^((alpha-1) D) = 1 + alpha (alpha-1) int_0^inf (e^((alpha-1) t) + e^(-alpha t)) delta(t) dt
    for a pair of mirror images [Sason, Verdu, IEEE Trans. Inf. Theory 2016, as an integral of
    hockey sticks]. delta is convex in e^t: between two points it lies below their chord, above its
    value at the right one, and above the chord of the next two, continued to the left. Each is
    linear in e^t, so a cell's integral is closed.
    """
    if alpha <= 1:
        raise PrivacyError(f"alpha must be > 1, got {alpha:g}.")
    t, low, high = table
    # a cell must not span more than e^50 of the weight
    parts = np.maximum(np.ceil(np.diff(t) * alpha / 50), 1).astype(int)
    if parts.sum() > 200_000:
        raise PrivacyError(f"the order {alpha:g} is out of reach of this profile's table.")
    if parts.max() > 1:
        fine = [
            np.linspace(a, b, k, endpoint=False) for a, b, k in zip(t, t[1:], parts, strict=False)
        ]
        at = np.append(np.concatenate(fine), t[-1])
        cell = np.append(np.repeat(np.arange(parts.size), parts), parts.size - 1)
        share = np.expm1(at - t[cell]) / np.expm1(t[cell + 1] - t[cell])
        high = high[cell] + (high[cell + 1] - high[cell]) * np.clip(share, 0, 1)
        low = np.where(at == t[cell], low[cell], low[cell + 1])
        low[-1] = 0.0
        t = at
    h = np.diff(t)
    ahead = np.append(h[1:], h[-1])
    after = np.append(high[2:], 0.0)
    # continued to the left: low_1 + (low_1 - high_2) (e^t_1 - e^t)/(e^t_2 - e^t_1)
    rise = np.maximum(low[1:] - after, 0.0) * -np.expm1(-h) / np.expm1(ahead)
    logs = []
    for left, right in ((low[1:] + rise, low[1:]), (high[:-1], high[1:])):
        total = -np.inf
        for a in (alpha - 1, -alpha):
            whole = np.expm1(a * h) / a  # int e^(a u) du over the cell
            tilt = np.expm1((a + 1) * h) / (a + 1) - whole  # int e^(a u) (e^u - 1) du
            value = left * whole + (right - left) * tilt / np.expm1(h)
            with np.errstate(divide="ignore"):
                total = np.logaddexp(
                    total, np.logaddexp.reduce(np.log(np.maximum(value, 0)) + a * t[:-1])
                )
        logs.append(np.logaddexp(0.0, np.log(alpha * (alpha - 1)) + total) / (alpha - 1))
    return float(logs[0]) * (1 - 1e-9), float(logs[1]) * (1 + 1e-9)
