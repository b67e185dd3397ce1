"""Renyi divergence of the clone pair, certified from both sides at a cost independent of n.

    D_alpha(P||Q) = log(E_C M_alpha(C + 1)) / (alpha - 1),
    M_alpha(m) = E[(1 + kappa Y_m)^alpha (1 - kappa Y_m)^(1-alpha)],  Y_m = mean of m fair signs.

Y is symmetric, so only the even part of the integrand counts: with x = kappa Y, s = alpha - 1 and
L = 2 s atanh(x) it is 1 + 2 sinh(L/2)^2 + x sinh(L), a power series in u = Y^2 with coefficients
>= 0 (log((1+x)/(1-x)) and (1+x) have none below 0). All its derivatives in u are >= 0, so

  - Gauss quadrature for the law of u is a lower bound, and
  - Gauss-Radau quadrature with the fixed node u = 1 is an upper bound,

both exact to high degree. The law's orthogonal polynomials are Krawtchouk's, so nodes and weights
come from a small eigenproblem for every m. Over C: the part 2 alpha (alpha-1) kappa^2 / m has the
closed expectation E[1/(C+1)] = (1 - (1-r)^n)/(n r); each remaining power E[Y_m^2k] decreases in m,
so blocks with the left or right end bound the rest.

Replace adjacency; P and Q are mirror images, so one direction is enough.
"""

import math
from typing import NamedTuple

import numpy as np

from privacy.accounting import binomial, errors
from privacy.accounting.bound import Bound
from privacy.shuffle import pair, question
from privacy.shuffle.pair import Pair

MOST = 1e60  # orders
LEAST = 1e-150  # eps0


class _Rule(NamedTuple):
    nodes: np.ndarray  # (items, nodes) u = y^2 in [0, 1]
    log_weights: np.ndarray


def _recurrence(m: np.ndarray, degree: int) -> tuple[np.ndarray, np.ndarray]:
    """Jacobi coefficients (a_k, b_k), k < degree, of the law of Y_m^2, one row per m.

    Krawtchouk: beta_k = k (m - k + 1) / m^2 for Y; the even part has a_k = beta_2k + beta_2k+1
    and b_k = beta_2k-1 beta_2k.
    """
    k = np.arange(2 * degree + 2, dtype=float)
    m = m[:, None]
    beta = k * np.maximum(m - k + 1, 0.0) / (m * m)
    index = np.arange(degree)
    a = beta[:, 2 * index] + beta[:, 2 * index + 1]
    b = beta[:, 2 * index[1:] - 1] * beta[:, 2 * index[1:]]
    return a, np.concatenate([np.zeros_like(m), b], axis=1)


def _log_weights(nodes, a, b, degree):
    """log of the Christoffel numbers 1/sum p_k(u)^2, k < degree: small weights keep their digits.

    The orthonormal polynomials are scaled by their running size, kept apart as a logarithm.
    """
    root = np.sqrt(b)
    previous, current = np.zeros_like(nodes), np.ones_like(nodes)
    total, log_scale = np.ones_like(nodes), np.zeros_like(nodes)
    for k in range(degree - 1):
        step = (nodes - a[:, k : k + 1]) * current - root[:, k : k + 1] * previous
        previous, current = current, step / root[:, k + 1 : k + 2]
        total = total + current * current
        if k % 8 == 7:
            big = np.sqrt(total)
            previous, current, total = previous / big, current / big, np.ones_like(total)
            log_scale = log_scale + np.log(big)
    return -np.log(total) - 2 * log_scale


def _whole(m: float) -> _Rule:
    """The law of Y_m^2 itself."""
    values = np.arange(math.ceil(m / 2), m + 1)
    logs = binomial.log_pmf(values, binomial.Binomial(m, 0.5, 0.5))
    logs = logs + np.where(2 * values == m, 0.0, math.log(2.0))
    return _Rule((((2 * values - m) / m) ** 2)[None], logs[None])


def _tridiagonal(diagonal, off):
    """Eigenvalues of symmetric tridiagonal matrices, one per row."""
    size = diagonal.shape[1]
    matrix = np.zeros((*diagonal.shape, size))
    index = np.arange(size)
    matrix[:, index, index] = diagonal
    matrix[:, index[1:], index[:-1]] = off  # eigvalsh reads the lower triangle
    return np.clip(np.linalg.eigvalsh(matrix), 0.0, 1.0)


def _rules(m: np.ndarray, degree: int) -> tuple[_Rule, _Rule]:
    """(Gauss, Gauss-Radau with the node 1) for the laws of Y_m^2, m > 2 degree + 2."""
    a, b = _recurrence(m, degree + 1)
    off = np.sqrt(b[:, 1:])
    gauss = _tridiagonal(a[:, :degree], off[:, : degree - 1])
    # Radau: change the last diagonal entry so that 1 is an eigenvalue of the larger matrix
    ratio = 1 - a[:, 0]
    for k in range(1, degree):
        ratio = 1 - a[:, k] - b[:, k] / ratio
    last = 1 - b[:, degree] / ratio
    radau = _tridiagonal(np.concatenate([a[:, :degree], last[:, None]], axis=1), off)
    radau[:, -1] = 1.0
    return (
        _Rule(gauss, _log_weights(gauss, a, b, degree)),
        _Rule(radau, _log_weights(radau, a, b, degree + 1)),
    )


def _log_moment(rule: _Rule, kappa: float, s: float, eps0: float) -> np.ndarray:
    """log of E[even part - 1 - 2 s (s+1) kappa^2 u] under each rule."""
    y = np.sqrt(rule.nodes)
    x = kappa * y
    whole = np.where(y == 1.0, s * eps0, 2 * s * np.arctanh(np.minimum(x, 1 - 1e-16)))
    # 2 sinh(L/2)^2 + x sinh L - 2 s (s+1) x^2; by its own series where that would cancel, and in
    # logarithms where L is large
    small = np.minimum(whole, 30.0)
    value = 2 * np.sinh(small / 2) ** 2 + x * np.sinh(small) - 2 * s * (s + 1) * x * x
    t = 2 * s
    fourth = t**4 / 24 + t**3 / 6 + t * t / 3 + t / 3
    value = np.where(x * (1 + s) < 1e-3, fourth * x**4, value)
    with np.errstate(divide="ignore"):
        logs = np.where(whole < 30, np.log(np.maximum(value, 0.0)), whole + np.log((1 + x) / 2))
    return np.logaddexp.reduce(logs + rule.log_weights, axis=1)


def _moments(m: np.ndarray, s: float, eps0: float, degree: int) -> tuple[np.ndarray, np.ndarray]:
    """log (lower, upper) of the moment beyond its quadratic part, for each m."""
    kappa = math.tanh(eps0 / 2)
    low, high = np.empty(m.shape), np.empty(m.shape)
    few = m <= 2 * degree + 4  # fewer values than nodes
    for i in np.flatnonzero(few):
        low[i] = high[i] = _log_moment(_whole(float(m[i])), kappa, s, eps0)[0]
    rest = np.flatnonzero(~few)
    for part in np.array_split(rest, max(1, rest.size * degree * degree // 2_000_000 + 1)):
        if part.size:
            gauss, radau = _rules(m[part], degree)
            low[part] = _log_moment(gauss, kappa, s, eps0)
            high[part] = _log_moment(radau, kappa, s, eps0)
    return low, high


class _Ends(NamedTuple):
    """Logarithms of the expectation over C of the moment beyond its quadratic part."""

    low: float  # right ends of the blocks, Gauss
    middle: float  # left ends, Gauss
    high: float  # left ends, Radau, and what lies outside the window
    exact: bool


def _rest(part: Pair, s: float, blocks: int, degree: int, exponent: float, tilt: float) -> _Ends:
    ends, weight, left, right, exact = pair.blocks_of(part, blocks, exponent, tilt)
    points = ends[:-1] + 1 if exact else np.unique(np.concatenate([ends[:-1] + 1, ends[1:]]))
    low, high = _moments(points, s, part.eps0, degree)
    first = np.searchsorted(points, ends[:-1] + 1)
    last = first if exact else np.searchsorted(points, ends[1:])
    with np.errstate(divide="ignore"):
        logs = np.log(weight)
        outside = -math.inf
        if ends[0] > 0 or ends[-1] < part.n:  # at most the moment of one sign
            outside = max(np.log(left + right), math.log(2) - exponent) + s * part.eps0
    # masses below double range still count where the moment is e^(s eps0): bound them by the
    # largest pmf in the block times its width
    law = part.clones
    nearest = np.clip(law.mean // 1, ends[:-1], ends[1:] - 1)
    most = binomial.log_pmf(nearest, law) + np.log(np.diff(ends))
    upper = np.where(weight > 1e-290, logs, most)
    return _Ends(
        np.logaddexp.reduce(low[last] + logs),
        np.logaddexp.reduce(low[first] + logs),
        np.logaddexp(np.logaddexp.reduce(high[first] + upper), outside),
        exact,
    )


def bracket(part: Pair, alpha: float, rtol: float = 1e-3, most: int = 8192) -> tuple[float, float]:
    """Certified (lower, upper) of D_alpha of a clone pair, alpha > 1."""
    s = alpha - 1
    kappa = math.tanh(part.eps0 / 2)
    if part.rate > 0 and part.n > 1:
        power = part.n * (math.log1p(-part.rate) if part.rest > 0.5 else math.log(part.rest))
        inverse = -math.expm1(power) / (part.n * part.rate)  # E[1/(C+1)]
    else:
        inverse = 1.0
    quadratic = math.log(2 * s * alpha * kappa * kappa * inverse)
    # the moment is about e^(2 s alpha kappa^2 / m): it leans on few clones
    m = part.clones.mean + 1
    for _ in range(20):
        tilt = min(2 * s * alpha * kappa * kappa / (m * m), s * part.eps0 / m)
        shrink = math.exp(-tilt)
        m = 0.5 * (m + 1 + part.clones.mean * shrink / (part.rest + part.rate * shrink))
    exponent = 40 + s * part.eps0 - min(quadratic, 0.0)
    blocks, degree = 32, 16
    slack = 1e-11 * (1 + math.log2(part.n + 1))
    while True:
        ends = _rest(part, s, blocks, degree, exponent, tilt)
        low, middle, high = (
            float(np.logaddexp(0.0, np.logaddexp(quadratic, t))) / s
            for t in (ends.low, ends.middle, ends.high)
        )
        lower, upper = low * (1 - slack), min(high * (1 + slack), part.eps0)
        if upper <= lower * (1 + rtol) or (blocks >= most and degree >= 256):
            return max(lower, 0.0), upper
        nodes, width = high / middle - 1, middle / low - 1
        if nodes > rtol / 3 and degree < 256:
            degree *= 2
        elif not ends.exact and blocks < most:
            blocks = int(min(most, blocks * min(max(2.0, 2 * width / rtol), 16.0)))
        elif degree < 256:
            degree *= 2
        else:
            return max(lower, 0.0), upper


def rdp(
    alpha: float,
    eps0: float,
    n: int | float,
    *,
    bound: str | None = None,
    rtol: float = 1e-3,
    delta0: float = 0.0,
    shuffling: str = "reports",
    missing: int = 0,
) -> Bound:
    """Renyi divergence of order alpha between shuffled outputs of neighbouring data sets.

    Args:
        alpha: real order in (1, `MOST`].
        eps0, n, bound, delta0, shuffling, missing: as in `privacy.shuffle.epsilon`; `standard`,
            `stronger` or `conjecture`.
        rtol: upper/lower - 1 that is worked for.

    Returns:
        A `Bound` in nats; `.upper` is at most eps0.

    Example:
        >>> b = rdp(2.0, 1.0, 1000, bound="stronger")
        >>> b.lower <= 0.00158873 <= b.upper
        True
    """
    eps0, n, bound = question.check(eps0, n, None, bound, delta0, shuffling, missing)
    alpha = errors.number("alpha", alpha)
    if not 1 < alpha <= MOST:
        raise errors.PrivacyError(f"alpha must be > 1 and <= {MOST:g}, got {alpha:g}.")
    if eps0 < LEAST:
        raise errors.PrivacyError(
            f"eps0 must be >= {LEAST:g} here, where its square is in double range, got {eps0:g}."
        )
    if bound not in ("standard", "stronger", "conjecture"):
        raise errors.PrivacyError(f"there is no Renyi form of the bound {bound!r}.")
    low, high = bracket(question.clones(bound, eps0, n), alpha, rtol)
    return Bound(low, high, quantity="rdp", **question.label(bound, None))
