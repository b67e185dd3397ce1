"""Privacy profiles of the central Gaussian mechanism, whole and sampled.

`noise_multiplier` is the noise's standard deviation over the clipping norm C of one record. What
neighbours can differ by depends on the adjacency: C when a record is added or removed, 2C when it
is replaced. The two are kept apart by type and never converted silently.
"""

import numpy as np
from scipy import special

from privacy.accounting.bound import Adjacency, Status
from privacy.accounting.errors import PrivacyError, fraction, positive, probability
from privacy.accounting.profile import Profile

ROUNDING = 1e-11  # relative, on both ends
SOURCE = "Gaussian mechanism [Balle, Wang, ICML 2018, Theorem 8]"


def delta(eps: np.ndarray | float, mu: float) -> np.ndarray | float:
    """delta(eps) between N(0, 1) and N(mu, 1), any real eps.

    Phi(mu/2 - eps/mu) - e^eps Phi(-mu/2 - eps/mu), by logarithms of Phi.

    Example:
        >>> round(float(delta(1.0, 1.0)), 6)
        0.126937
    """
    eps = np.asarray(eps, float)
    first = special.log_ndtr(mu / 2 - eps / mu)
    second = eps + special.log_ndtr(-mu / 2 - eps / mu)
    return np.exp(first) * -np.expm1(np.minimum(second - first, 0.0))


def sampled_delta_remove(eps: np.ndarray | float, mu: float, rate: float) -> np.ndarray | float:
    """delta of ((1-q) N(0,1) + q N(mu,1) || N(0,1)), eps >= 0: q delta(log(1 + (e^eps-1)/q))."""
    return rate * delta(np.log1p(np.expm1(eps) / rate), mu)


def sampled_delta_add(eps: np.ndarray | float, mu: float, rate: float) -> np.ndarray | float:
    """delta of (N(0,1) || (1-q) N(0,1) + q N(mu,1)), eps >= 0; 0 from -log(1-q) on."""
    eps = np.asarray(eps, float)
    share = -np.expm1(eps + np.log1p(-rate))  # 1 - e^eps (1 - q)
    safe = np.where(share > 0, share, 1.0)
    inner = eps + np.log(rate) - np.log(safe)
    return np.where(share > 0, safe * delta(inner, mu), 0.0)


def sampled_delta_replace(eps: np.ndarray | float, mu: float, rate: float) -> np.ndarray | float:
    """delta of ((1-q) N(0,1) + q N(mu,1) || (1-q) N(0,1) + q N(-mu,1)), eps >= 0."""
    eps = np.asarray(eps, float)
    # the ratio (1-q + c u)/(1-q + c/u), u = e^(mu x), c = q e^(-mu^2/2), rises through e^eps once
    c = np.log(rate) - mu * mu / 2
    b = np.log1p(-rate) + np.log(np.maximum(np.expm1(eps), 1e-300))
    root = np.logaddexp(b, 0.5 * np.logaddexp(2 * b, np.log(4.0) + eps + 2 * c))
    x = (root - np.log(2.0) - c) / mu
    tail = lambda z: special.ndtr(-z)
    stay = (1 - rate) * tail(x)
    return np.maximum(stay + rate * tail(x - mu) - np.exp(eps) * (stay + rate * tail(x + mu)), 0)


def _both(value):
    return value * (1 - ROUNDING), value * (1 + ROUNDING)


def sensitivity(adjacency: Adjacency) -> float:
    """How far apart sums of vectors of norm <= 1 can be for neighbours."""
    return 1.0 if adjacency == Adjacency.ADD_REMOVE else 2.0


def profile(noise_multiplier: float, adjacency: Adjacency) -> Profile:
    """The Gaussian mechanism."""
    mu = sensitivity(adjacency) / positive("noise_multiplier", noise_multiplier)
    return Profile(lambda eps: _both(delta(eps, mu)), adjacency, Status.UNIVERSAL, SOURCE)


def sampled_profiles(noise_multiplier: float, rate: float, adjacency: Adjacency) -> list[Profile]:
    """The Poisson-sampled Gaussian mechanism (DP-SGD, DP-FedAvg): one profile per direction.

    Add or remove: each neighbour relation composes with itself, so both are composed apart and
    the larger eps counts [Zhu, Dong, Wang, AISTATS 2022]. Replace: the record moves the sampled
    sum by C one way or the other.
    """
    s = positive("noise_multiplier", noise_multiplier)
    q = fraction("sampling rate", rate)
    if q == 1:
        return [profile(s, adjacency)]
    probability("sampling rate", q)
    mu = 1 / s
    source = "Poisson-sampled Gaussian [Zhu, Dong, Wang, AISTATS 2022]"
    if adjacency == Adjacency.REPLACE:
        if mu * mu / 2 > 600:
            raise PrivacyError(f"noise multiplier {s:g} is below double range for sampling.")
        curve = lambda eps: _absolute(sampled_delta_replace(eps, mu, q))
        return [Profile(curve, adjacency, Status.UNIVERSAL, source)]
    remove = lambda eps: _both(sampled_delta_remove(eps, mu, q))
    add = lambda eps: _both(sampled_delta_add(eps, mu, q))
    common = (adjacency, Status.UNIVERSAL, source)
    return [Profile(remove, *common, backward=add), Profile(add, *common, backward=remove)]


def _absolute(value):
    """For a difference of tails: rounding is absolute, not relative."""
    return np.maximum(value - 1e-15, 0.0), value + 1e-15
