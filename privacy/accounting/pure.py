"""Privacy profiles of pure differential privacy: the Laplace mechanism, and the worst of all.

What is eps-DP and no more is known of it composes like binary randomized response at eps; the
Laplace mechanism is eps-DP at its sensitivity over its scale, and composes better.
"""

import numpy as np

from privacy.accounting.bound import Adjacency, Status, adjacent
from privacy.accounting.errors import positive
from privacy.accounting.gaussian import sensitivity
from privacy.accounting.profile import Profile, between


def laplace_delta(eps: np.ndarray | float, mu: float) -> np.ndarray | float:
    """delta(eps) between Laplace(0, 1) and Laplace(mu, 1), eps >= 0: 1 - e^((eps - mu)/2), or 0.

    Example:
        >>> round(float(laplace_delta(0.5, 1.0)), 6)
        0.221199
    """
    return -np.expm1(np.minimum((np.asarray(eps, float) - mu) / 2, 0.0))


def response_delta(eps: np.ndarray | float, eps0: float) -> np.ndarray | float:
    """delta(eps) of binary randomized response at eps0: (e^eps0 - e^eps)/(e^eps0 + 1), or 0.

    Example:
        >>> round(float(response_delta(0.0, 1.0)), 6)  # tanh(1/2)
        0.462117
    """
    return -np.expm1(np.minimum(np.asarray(eps, float) - eps0, 0.0)) / (1 + np.exp(-eps0))


def laplace(noise_multiplier: float, adjacency: Adjacency) -> Profile:
    """The Laplace mechanism.

    Args:
        noise_multiplier: scale of the noise over the clipping norm C (L1) of one record.
        adjacency: decides whether neighbours differ by C or by 2 C.
    """
    adjacency = adjacent(adjacency)
    mu = sensitivity(adjacency) / positive("noise_multiplier", noise_multiplier)
    source = "Laplace mechanism [Dwork, McSherry, Nissim, Smith, TCC 2006]"
    return _profile(lambda eps: laplace_delta(eps, mu), mu, adjacency, source)


def randomized_response(eps0: float, adjacency: Adjacency) -> Profile:
    """What dominates every eps0-DP mechanism [Kairouz, Oh, Viswanath, ICML 2015, Theorem 3.4]."""
    eps0 = positive("eps", eps0)
    source = "pure DP is dominated by randomized response [Kairouz, Oh, Viswanath, ICML 2015]"
    return _profile(lambda eps: response_delta(eps, eps0), eps0, adjacent(adjacency), source)


def _profile(delta, most, adjacency, source) -> Profile:
    curve = lambda eps: between(delta, eps, 4e-16 * (4 + most))
    return Profile(curve, adjacency, Status.UNIVERSAL, source, reach=np.nextafter(most, np.inf))
