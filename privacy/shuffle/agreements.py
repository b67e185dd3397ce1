"""How many of c reports disagree with their labels, when some of them are only guests.

A report outside the victim's two symbols carries a label (`many_symbols`). A holder's own report
agrees with it with probability h/(1-2p), a guest's, which is uniform on the k - 2 other symbols,
with 1/(k-2).
"""

import functools

import numpy as np

from privacy.accounting import binomial, errors
from privacy.accounting.binomial import Binomial

LARGEST = 5e7  # numbers in a set of tables


@functools.lru_cache(maxsize=4)
def tables(own: float, guest: float, least: int, most: int, guests: int, wrong: int) -> np.ndarray:
    """Pr[d of c reports disagree | j of them are guests], d < wrong, as [c - least, j, d].

    Every entry is a sum of products of positive numbers, so that none loses digits; entries with
    j > c are 0.

    Args:
        own, guest: probabilities of agreement.
        least, most: c is in this range. guests: j is less than this. wrong: d is less than this.

    Raises:
        PrivacyError: more than LARGEST numbers.
    """
    if (most - least + 1) * guests * wrong > LARGEST:
        raise errors.PrivacyError(f"tables for {most} reports of k-RR are out of reach.")
    made = np.zeros((most - least + 1, guests, wrong))
    for j in range(min(guests, least + 1)):
        made[0, j] = np.convolve(_law(j, guest, wrong), _law(least - j, own, wrong))[:wrong]
    for last, new, c in zip(made, made[1:], range(least, most), strict=False):
        new += own * last
        new[:, 1:] += (1 - own) * last[:, :-1]
        if c + 1 < guests:
            new[c + 1] = guest * last[c]
            new[c + 1, 1:] += (1 - guest) * last[c, :-1]
    return made


def _law(reports: int, agree: float, wrong: int) -> np.ndarray:
    """Pr[d of so many disagree], d < wrong."""
    return np.exp(binomial.log_pmf(np.arange(wrong), Binomial(float(reports), 1 - agree, agree)))
