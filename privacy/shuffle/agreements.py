"""How many of c reports disagree with their labels, when some of them are only guests.

A report outside the victim's two symbols carries a label (`many_symbols`). A holder's own report
agrees with it with probability h/(1-2p), a guest's, which is uniform on the k - 2 other symbols,
with 1/(k-2).
"""

import functools

import numpy as np

from privacy.accounting import errors

LARGEST = 5e7  # numbers in a set of tables


@functools.lru_cache(maxsize=4)
def tables(own: float, guest: float, most: int, guests: int, wrong: int) -> np.ndarray:
    """Pr[d of c reports disagree | j of them are guests], d < wrong, as [c, j, d].

    Every entry is a sum of products of positive numbers, so that none loses digits; entries with
    j > c are 0.

    Args:
        own, guest: probabilities of agreement.
        most: c is at most this. guests: j is less than this. wrong: d is less than this.

    Raises:
        PrivacyError: more than LARGEST numbers.
    """
    if (most + 1) * guests * wrong > LARGEST:
        raise errors.PrivacyError(f"tables for {most} reports of k-RR are out of reach.")
    made = np.zeros((most + 1, guests, wrong))
    made[0, 0, 0] = 1.0
    for c in range(most):
        last, new = made[c], made[c + 1]
        new += own * last
        new[:, 1:] += (1 - own) * last[:, :-1]
        if c + 1 < guests:
            new[c + 1] = guest * last[c]
            new[c + 1, 1:] += (1 - guest) * last[c, :-1]
    return made
