"""How many of c reports agree with their labels, when some of them are only guests.

A report outside the victim's two symbols carries a label (`many_symbols`). A holder's own report
agrees with it with probability h/(1-2p), a guest's, which is uniform on the k - 2 other symbols,
with 1/(k-2).
"""

import functools

import numpy as np

MOST = 600  # reports; the tables grow with its cube


@functools.lru_cache(maxsize=4)
def tables(own: float, guest: float, most: int) -> list[np.ndarray]:
    """For each c = 0..most a (c+1, c+1) array: Pr[a of c agree | j of them are guests] at [j, a].

    Every entry is a sum of products of positive numbers, so that none loses digits.
    """
    made = [np.ones((1, 1))]
    for c in range(most):
        last = made[-1]
        table = np.zeros((c + 2, c + 2))
        table[:-1, :-1] += last * (1 - own)
        table[:-1, 1:] += last * own
        table[-1, :-1] += last[-1] * (1 - guest)
        table[-1, 1:] += last[-1] * guest
        made.append(table)
    return made
