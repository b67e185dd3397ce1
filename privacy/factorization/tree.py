"""Binary trees: round t completes a node, the sum of as many rounds as the last bit of t says.

A prefix is the sum of the nodes that are the bits of its length.
"""

import math

import numpy as np

from privacy.accounting.errors import count
from privacy.factorization.sensitivity import ROUNDED, schedule


def factor(rounds: int) -> np.ndarray:
    """C, (n, n): row t, counted from 1, has ones in its last (t & -t) columns up to t.

    Every other node of the tree is the difference of these and needs no release of its own.

    References:
        Dwork, Naor, Pitassi, Rothblum 2010, "Differential Privacy under Continual Observation";
        Kairouz et al. 2021, "Practical and Private (Deep) Learning without Sampling or Shuffling".

    Example:
        >>> factor(4).tolist()
        [[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [1.0, 1.0, 1.0, 1.0]]
    """
    rounds = count("rounds", rounds)
    c = np.zeros((rounds, rounds))
    for t in range(1, rounds + 1):
        c[t - 1, t - (t & -t) : t] = 1
    return c


def sensitivity(
    rounds: int, separation: int, participations: int | None = None, *, refined: bool = False
) -> float:
    """What one participant can move the nodes by, at most; rounded up.

    Of k participations a node of 2^l rounds holds at most ceil(2^l / s), and all m nodes of its
    size no more than k: this adds at most ceil(2^l / s) min(k, m ceil(2^l / s)) to the square. It
    is attained by one participation, and where n and s are powers of 2 by n / s.

    Args:
        rounds: n.
        separation: s, rounds from one participation to the next at least.
        participations: k at most; None = as many as fit.
        refined: of the whole tree, not of `factor` alone.

    Example:
        >>> round(sensitivity(8, 8), 6)  # the first round counts in the nodes of 1, 2, 4 and 8
        2.0
    """
    k = schedule(rounds, separation, participations)
    square = 0
    for level in range(int(rounds).bit_length()):
        nodes = int(rounds) >> level
        nodes = nodes if refined else (nodes + 1) // 2  # those that `factor` has: every other one
        holds = min(k, -(-(2**level) // int(separation)))
        square += holds * min(k, nodes * holds)
    return math.sqrt(square) * ROUNDED


def rmse(
    rounds: int, separation: int, participations: int | None = None, *, refined: bool = False
) -> float:
    """As `toeplitz.rmse`, of prefix sums: t rounds have as many nodes as t has bits.

    Args:
        rounds, separation, participations: as `sensitivity` has them.
        refined: every node of the tree is released, and one of 2^l rounds is estimated from all
            those below it too, so that its variance is 1 / (2 - 2^-l) and not 1: what Kairouz et
            al. 2021 run, though `correlated_noise.binary_tree` does not.

    References:
        Honaker 2015, "Efficient Use of Differentially Private Binary Trees".
    """
    prefixes = np.arange(1, count("rounds", rounds) + 1)
    total = sum(
        np.count_nonzero(prefixes >> level & 1) / (2 - 0.5**level if refined else 1)
        for level in range(int(rounds).bit_length())
    )
    return sensitivity(rounds, separation, participations, refined=refined) * math.sqrt(
        total / rounds
    )
