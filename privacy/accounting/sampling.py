"""What choosing participants at random does to a round's profile.

Replace-one neighbours. For one round run on a random subset of the users:

fixed size, membership hidden   m of n:  delta'(eps) = (m/n) delta_m(log(1 + (e^eps - 1) n/m))
                                [Balle, Barthe, Gaboardi, NeurIPS 2018, Theorem 11]
check-in, count visible         mean of that over m ~ Bin(n, q): given the count the participants
                                are a uniform subset of that size
participation visible           delta'(eps) = q delta_m(eps): hiding nothing, only being spared
"""

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from privacy.accounting.errors import fraction
from privacy.accounting.profile import Profile

ROUNDED = 2e-15  # relative, of an eps that was shifted


def fixed_size(profile: Profile, rate: float) -> Profile:
    """A uniform subset of size rate * n, its membership hidden."""
    rate = fraction("sampling rate", rate)
    if rate == 1:
        return profile

    def curve(eps):
        low, high = _ends(profile, _shifted(eps, rate))
        return rate * low, rate * high

    reach = profile.reach
    if math.isfinite(reach):
        reach = math.log1p(math.expm1(reach) * rate) if reach < 700 else reach + math.log(rate)
        reach *= 1 + 2e-15  # delta is 0 from there on, however the logarithms were rounded
    return _with(profile, curve, reach)


def _shifted(eps, rate: float):
    """log(1 + (e^eps - 1) / rate), also where e^eps is too large for a float."""
    eps = np.asarray(eps, float)
    exact = np.log1p(np.expm1(np.minimum(eps, 600.0)) / rate)
    return np.where(eps < 600, exact, eps - math.log(rate))  # what is left out is below 1e-260


def _ends(profile: Profile, eps):
    """(lower, upper) of delta at an eps that is rounded, a few units in its last place.

    That counts where delta ends: there it falls to 0 as the distance to its end does.
    """
    eps = np.atleast_1d(eps)
    low, high = (np.array(end) for end in profile.forward(eps))
    near = eps > 0.999 * profile.reach
    if near.any():
        low[near] = profile.forward(eps[near] * (1 + ROUNDED))[0]
        high[near] = profile.forward(eps[near] * (1 - ROUNDED))[1]
    return low, high


def visible(profile: Profile, rate: float) -> Profile:
    """Everyone sees who took part; a user takes part with probability `rate`."""
    rate = fraction("sampling rate", rate)

    def curve(eps):
        low, high = profile.forward(eps)
        return rate * low, rate * high

    return _with(profile, curve, profile.reach)


def check_in(
    rounds: Callable[[int], Profile], edges: np.ndarray, masses: np.ndarray, outside: float, n: int
) -> Profile:
    """Every user checks in independently; only the number m of participants is seen.

    Args:
        rounds: m -> profile of the round with m participants; delta must not increase with m.
        edges: (blocks + 1,) the counts at which blocks of m begin; m < edges[0] and
            m >= edges[-1] are outside.
        masses: (blocks,) probability of each block.
        outside: probability that m lies outside the blocks.
        n: users.

    Within a block, m/n and the shift of eps are taken at the end where they are worst.
    """
    first, last = edges[:-1].astype(int), edges[1:].astype(int) - 1
    table = {int(m): rounds(int(m)) for m in np.unique(np.concatenate([first, last])) if m > 0}

    def one(eps, m, at, side):
        if at == 0 or m == 0:
            return 0.0
        shifted = np.log1p(np.expm1(eps) * (n / at))
        return at / n * _ends(table[m], shifted)[side]

    def curve(eps):
        low = sum(
            w * one(eps, int(b), int(a), 0) for w, a, b in zip(masses, first, last, strict=True)
        )
        high = sum(
            w * one(eps, max(int(a), 1), int(b), 1)
            for w, a, b in zip(masses, first, last, strict=True)
        )
        return low, high + outside

    some = next(iter(table.values()))
    return _with(some, curve, some.reach)


def _with(profile, curve, reach):
    return dataclasses.replace(profile, forward=curve, backward=None, reach=reach)
