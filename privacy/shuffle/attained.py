"""Lower bounds on the true loss: what named mechanisms attain on named data sets.

For "any eps0-LDP randomizer" one mechanism with one data set bounds every correct theorem from
below. Two are kept, each best in its range:

L1  three-symbol randomized response, every bystander holds the third symbol;
L2  binary randomized response, every bystander holds 0 (both directions of the divergence).
"""

import math

import numpy as np

from privacy.accounting import binomial, roots
from privacy.accounting.binomial import Binomial
from privacy.shuffle import mixture, twolevel


def merged_epsilon(
    eps0: float, n: int, delta: float, only: float, shown: float, rtol: float = 1e-3
) -> float:
    """Certified lower end of the merged pair's eps; 0 where the numbers leave double range."""
    if only <= 1e-300 or shown >= 0.5 or eps0 > 600:
        return 0.0
    maker = lambda blocks, exponent: twolevel.merged(eps0, n, only, shown, blocks, exponent)
    level = twolevel.TwoLevel(eps0, only, 0.0, 0.0)
    first = twolevel.guess(level, n, delta)
    return mixture.solve(maker, eps0, n, delta, rtol=rtol, guess=first).lower


def binary_delta(eps0: float, n: int, eps: float) -> float:
    """Certified lower bound of delta(eps): binary randomized response among n - 1 zeros.

    With B ~ Bin(n-1, w1) ones among the bystanders, w1 = 1/(e^eps0+1) = 1 - w0, the victim adds
    Bern(w1) or Bern(w0); any threshold j gives a lower bound, and the one where the likelihood
    ratio crosses e^eps gives the divergence.
    """
    if eps >= eps0:
        return 0.0
    small = math.exp(-eps0)
    w0, w1 = 1 / (1 + small), small / (1 + small)
    law = Binomial(float(n - 1), w1, w0)
    e1 = math.expm1(eps)
    gap = -math.expm1(eps - eps0) * w0  # w0 - E w1
    far = gap + e1  # E w0 - w1
    j = max(math.ceil(far * small * n / (gap + far * small)), 1)
    up = _difference(gap, e1, j - 1, binomial.tails(np.array([float(j)]), law)[1][0], law)
    j = min(max(math.floor(gap * small * n / (far + gap * small)), 0), n - 1)
    down = _difference(gap, e1, j, binomial.tails(np.array([float(j)]), law)[0][0], law)
    return max(up, down, 0.0)


def _difference(gap, e1, at, tail, law):
    """gap * pmf(at) - e1 * tail, less what rounding may have added."""
    first = gap * math.exp(float(binomial.log_pmf(np.array([float(at)]), law)[0]))
    return first - e1 * float(tail) - 1e-11 * first


def binary_epsilon(eps0: float, n: int, delta: float) -> float:
    """Certified lower end of the eps that L2 attains."""
    if eps0 > 300:
        return 0.0
    value = lambda eps: binary_delta(eps0, n, eps) - delta
    return roots.bracket(value, 0.0, eps0 * (1 - 1e-12), 1e-6, None)[0] if value(0.0) > 0 else 0.0


def epsilon(eps0: float, n: int, delta: float) -> float:
    """The larger of L1 and L2: no correct bound for all eps0-LDP randomizers can be below it."""
    small = math.exp(-eps0)
    third = small / (1 + 2 * small)
    three = merged_epsilon(eps0, n, delta, third, third) if n > 1 and third > 0 else 0.0
    return max(three, binary_epsilon(eps0, n, delta))


def delta(eps0: float, n: int, eps: float) -> float:
    """The larger delta of L1 and L2 at eps."""
    small = math.exp(-eps0)
    third = small / (1 + 2 * small)
    part = twolevel.merged(eps0, n, third, third, 512, 60.0)
    three = float(mixture.bracket(part, np.array([eps]), n)[0][0]) if eps < eps0 else 0.0
    return max(three, binary_delta(eps0, n, eps) if eps0 < 300 else 0.0)
