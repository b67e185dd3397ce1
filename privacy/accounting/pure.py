"""Privacy profiles of pure differential privacy: the Laplace mechanism, and the worst of all.

What is eps-DP and no more is known of it composes like binary randomized response at eps; the
Laplace mechanism is eps-DP at its sensitivity over its scale, and composes better.
"""

import math

import numpy as np

from privacy.accounting import binomial
from privacy.accounting.bound import Adjacency, Status, adjacent
from privacy.accounting.errors import positive
from privacy.accounting.gaussian import sensitivity
from privacy.accounting.profile import Profile, between

REACH = 660.0  # of the log of what is left out of a composition
LARGEST = 10**7  # mechanisms that are composed exactly, to bound memory


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


def responses(eps0: float, times: int, adjacency: Adjacency) -> Profile:
    """`times` adaptive mechanisms that are eps0-DP, composed exactly.

    The loss is (2k - T) eps0, k ~ Bin(T, 1/(1 + e^-eps0)) [Kairouz, Oh, Viswanath, ICML 2015,
    Theorem 3.3]. Between the losses of j - 1 and j, with r = e^(-2 eps0),

        delta(eps) = (1 - e^(eps - loss_j)) B_j + (1 - r) sum_{i > j} B_i,
        B_j = sum_{k >= j} pmf(k) r^(k-j),

    of which no term is negative.
    """
    from scipy import signal  # half a second that only this needs

    eps0, adjacency = positive("eps", eps0), adjacent(adjacency)
    yes = 1 / (1 + math.exp(-eps0))
    law = binomial.Binomial(float(times), yes, math.exp(-eps0) * yes)
    last = min(binomial.window(law, REACH)[1], times)  # beyond lies a mass of e^-REACH
    outside = 2 * math.exp(-REACH) if last < times else 0.0
    k = np.arange(times // 2 + 1.0, max(last, times // 2 + 1) + 1)
    losses, r = (2 * k - times) * eps0, math.exp(-2 * eps0)
    pmf = np.exp(binomial.log_pmf(k, law))
    most = signal.lfilter([1.0], [1.0, -r], pmf[::-1])[::-1]
    above = -math.expm1(-2 * eps0) * np.append(np.cumsum(most[::-1])[-2::-1], 0.0)

    def delta(eps):
        eps = np.asarray(eps, float)
        j = np.minimum(np.searchsorted(losses, eps), k.size - 1)
        return most[j] * -np.expm1(np.minimum(eps - losses[j], 0.0)) + above[j]

    slack = 1e-11 + 1e-15 * k.size + 4e-16 * times * eps0

    def curve(eps):
        low, high = between(delta, eps, slack)
        return low, np.minimum(high + outside, 1.0)

    source = "pure DP is dominated by randomized response [Kairouz, Oh, Viswanath, ICML 2015]"
    reach = np.nextafter(times * eps0, np.inf)
    return Profile(curve, adjacency, Status.UNIVERSAL, source, reach=reach)


def _profile(delta, most, adjacency, source) -> Profile:
    curve = lambda eps: between(delta, eps, 4e-16 * (4 + most))
    return Profile(curve, adjacency, Status.UNIVERSAL, source, reach=np.nextafter(most, np.inf))
