"""Privacy profiles of the central Gaussian mechanism, whole and sampled.

`noise_multiplier` is the noise's standard deviation over the clipping norm C of one record. What
neighbours can differ by depends on the adjacency: C when a record is added or removed, 2C when it
is replaced. The two are kept apart by type and never converted silently.
"""

import math

import numpy as np
from scipy import special

from privacy.accounting.bound import Adjacency, Status, adjacent
from privacy.accounting.errors import PrivacyError, fraction, positive
from privacy.accounting.profile import Profile, between

SOURCE = "Gaussian mechanism [Balle, Wang, ICML 2018, Theorem 8]"
LEAST, MOST = 1e-100, 1e12
"""Noise multipliers: above, differences of Mills' ratio have lost all digits."""


def noise(noise_multiplier: float) -> float:
    """The checked noise multiplier.

    Raises:
        PrivacyError: it is not a number from `LEAST` to `MOST`.
    """
    value = positive("noise_multiplier", noise_multiplier)
    if value < LEAST:
        raise PrivacyError(f"noise_multiplier must be >= {LEAST:g}, got {value:g}.")
    if value > MOST:
        raise PrivacyError(
            f"noise_multiplier is at most {MOST:g}, to which the arithmetic is tested, got"
            f" {value:g}; more noise never hurts, so the bound at {MOST:g} is valid."
        )
    return value


def _mills(x):
    """Phi(-x)/phi(x)."""
    return math.sqrt(math.pi / 2) * special.erfcx(x / math.sqrt(2))


def _density(x, log_factor=0.0):
    return np.exp(log_factor - x * x / 2) / math.sqrt(2 * math.pi)


def delta(eps: np.ndarray | float, mu: float) -> np.ndarray | float:
    """delta(eps) between N(0, 1) and N(mu, 1), any real eps.

    Phi(-a) - e^eps Phi(-b) with a = eps/mu - mu/2 and b = a + mu. Because phi(a) = e^eps phi(b)
    it is phi(a) (M(a) - M(b)), M Mills' ratio: digits are lost as mu shrinks, not down the tail.

    Example:
        >>> round(float(delta(1.0, 1.0)), 6)
        0.126937
    """
    eps = np.asarray(eps, float)
    a = eps / mu - mu / 2
    tail = np.maximum(a, 0.0)
    right = _density(tail) * (_mills(tail) - _mills(tail + mu))
    near = np.minimum(a, 0.0)
    eps = np.where(a < 0, eps, 0.0)
    left = special.ndtr(-near) - np.exp(eps + special.log_ndtr(-near - mu))
    return np.where(a < 0, left, right)


def rounding(eps: np.ndarray | float, mu: float) -> np.ndarray | float:
    """Relative error of `delta` that is allowed for; held against 50 digits in the tests."""
    a = np.abs(np.asarray(eps, float) / mu - mu / 2)
    return 2e-15 * (20 + a * (a + mu) + (2 + a) / min(mu, 1.0))


def _shift(eps, rate):
    """log(1 + (e^eps - 1)/rate), small or large."""
    return eps + np.log1p((1 - rate) / rate * -np.expm1(-eps))


def sampled_delta_remove(eps: np.ndarray | float, mu: float, rate: float) -> np.ndarray | float:
    """delta of ((1-q) N(0,1) + q N(mu,1) || N(0,1)), eps >= 0: q delta(log(1 + (e^eps-1)/q))."""
    return rate * delta(_shift(np.asarray(eps, float), rate), mu)


def sampled_delta_add(eps: np.ndarray | float, mu: float, rate: float) -> np.ndarray | float:
    """delta of (N(0,1) || (1-q) N(0,1) + q N(mu,1)), eps >= 0; 0 from -log(1-q) on."""
    eps = np.asarray(eps, float)
    share = -np.expm1(np.minimum(eps + np.log1p(-rate), 0.0))  # 1 - e^eps (1 - q)
    safe = np.where(share > 0, share, 1.0)
    inner = np.where(share > 0, eps + np.log(rate) - np.log(safe), 0.0)
    return np.where(share > 0, safe * delta(inner, mu), 0.0)


def sampled_delta_replace(eps: np.ndarray | float, mu: float, rate: float) -> np.ndarray | float:
    """delta of ((1-q) N(0,1) + q N(mu,1) || (1-q) N(0,1) + q N(-mu,1)), eps >= 0.

    The likelihood ratio (1-q + c u)/(1-q + c/u), u = e^(mu x), c = q e^(-mu^2/2), passes e^eps
    once, at x >= 0, and there (1-q)(e^eps - 1) = c u - e^eps c/u. With M Mills' ratio that leaves
    q phi(x-mu) (M(x-mu) - M(x)) + e^eps q phi(x+mu) (M(x) - M(x+mu)): no term is negative.
    """
    eps = np.asarray(eps, float)
    c = math.log(rate) - mu * mu / 2
    with np.errstate(divide="ignore"):
        b = math.log1p(-rate) + eps + np.log(-np.expm1(-eps))
    root = np.logaddexp(b, 0.5 * np.logaddexp(2 * b, math.log(4.0) + eps + 2 * c))
    x = np.maximum((root - math.log(2.0) - c) / mu, 0.0)
    log_rate = math.log(rate)
    first = _density(x - mu, log_rate) * (_mills(x - mu) - _mills(x))
    return first + _density(x + mu, log_rate + eps) * (_mills(x) - _mills(x + mu))


def sensitivity(adjacency: Adjacency) -> float:
    """How far apart sums of vectors of norm <= 1 can be for neighbours."""
    return {Adjacency.ADD_REMOVE: 1.0, Adjacency.REPLACE: 2.0}[adjacent(adjacency)]


def profile(noise_multiplier: float, adjacency: Adjacency) -> Profile:
    """The Gaussian mechanism.

    Args:
        noise_multiplier: standard deviation of the noise over the clipping norm C.
        adjacency: decides whether neighbours differ by C or by 2 C.
    """
    adjacency = adjacent(adjacency)
    mu = sensitivity(adjacency) / noise(noise_multiplier)
    curve = lambda eps: between(lambda e: delta(e, mu), eps, rounding(eps, mu))
    return Profile(curve, adjacency, Status.UNIVERSAL, SOURCE)


def sampled_profiles(noise_multiplier: float, rate: float, adjacency: Adjacency) -> list[Profile]:
    """The Poisson-sampled Gaussian mechanism (DP-SGD, DP-FedAvg): one profile per direction.

    Add or remove: each neighbour relation composes with itself, so both are composed apart and
    the larger eps counts [Zhu, Dong, Wang, AISTATS 2022]. Replace: the record moves the sampled
    sum by C one way or the other.

    Raises:
        PrivacyError: replace-one neighbours and a noise multiplier below 0.041.
    """
    s = noise(noise_multiplier)
    q = fraction("sampling rate", rate)
    adjacency = adjacent(adjacency)
    if q == 1:
        return [profile(s, adjacency)]
    mu = 1 / s
    source = "Poisson-sampled Gaussian [Zhu, Dong, Wang, AISTATS 2022]"
    # the inner eps of the sampled forms carries the rounding of log q, over mu
    slack = lambda eps: 8 * rounding(_shift(eps, q), mu) * (1 - math.log(q))
    certified = lambda function: (
        lambda eps: between(lambda e: function(e, mu, q), eps, np.minimum(slack(eps), 1e300))
    )
    common = (adjacency, Status.UNIVERSAL, source)
    if adjacency == Adjacency.REPLACE:
        if mu > 24.5:
            raise PrivacyError(
                f"a noise multiplier of {s:g} leaves double range under sampling; use the"
                " unsampled Gaussian mechanism, whose bound is valid for the sampled one too."
            )
        return [Profile(certified(sampled_delta_replace), *common)]
    remove, add = certified(sampled_delta_remove), certified(sampled_delta_add)
    return [Profile(remove, *common, backward=add), Profile(add, *common, backward=remove)]
