"""What one participant can move C x by, over every schedule on which it may take part.

It takes part at most k times, in rounds at least `separation` apart, each time with an update of
norm 1 at most. Then C x + z is one Gaussian mechanism, also where updates depend on what was
released before, because C is lower-triangular [Denisov et al. 2022]. Neighbours of
`ADD_REMOVE` differ by a participant whose updates are nothing in all its rounds, the schedule
of the others being the same: who is in which block must not depend on who else there is.
`REPLACE` ones differ by its updates, which is twice as far.
"""

import math

import numpy as np

from privacy.accounting.errors import PrivacyError, count, positive
from privacy.accounting.events import Gaussian, SampledGaussian
from privacy.factorization import workload

ROUNDED = 1 + 2**-23
"""Rounds take C in float32, whose columns are longer than here by less than this factor."""


def schedule(rounds: int, separation: int, participations: int | None = None) -> int:
    """k, the most rounds in which one participant can take part.

    Example:
        >>> schedule(20, 3), schedule(20, 3, 2)
        (7, 2)
    """
    rounds, separation = count("rounds", rounds), count("separation", separation)
    most = -(-rounds // separation)
    if participations is None:
        return most
    return min(count("participations", participations), most)


def toeplitz(
    coefficients: np.ndarray, rounds: int, separation: int, participations: int | None = None
) -> float:
    """Sensitivity of the Toeplitz C with this first column, zeros below; exact, rounded up.

    With no more coefficients than the separation, the columns of a participant do not overlap, and
    it is the root of the sum of their squares, the first ones being the longest. With more, and
    more than one participation, it is the length of the sum of columns 0, s, 2s, .. if the
    coefficients fall and are not negative.

    Args:
        coefficients: (bands,) of C.
        rounds: n.
        separation: s, rounds from one participation to the next at least.
        participations: at most so many; None = as many as fit.

    Raises:
        PrivacyError: a number out of its range; columns that overlap, of coefficients that are
            negative or rise.

    References:
        Kalinin, Lampert 2024, "Banded Square Root Matrix Factorization for Differentially Private
        Model Training".

    Example:
        >>> round(toeplitz(np.array([1.0, 0.5]), 4, 2), 6)  # 2 columns of norm sqrt(1.25)
        1.581139
    """
    rounds, separation = count("rounds", rounds), count("separation", separation)
    c = workload.coefficients(coefficients)[:rounds]
    k = schedule(rounds, separation, participations)
    if k > 1 and c.size > separation and (np.any(c < 0) or np.any(np.diff(c) > 0)):
        raise PrivacyError(
            f"with {c.size} coefficients and participations {separation} rounds apart, the"
            " sensitivity is known where coefficients fall and are not negative; use at most"
            f" {separation} coefficients, or such ones."
        )
    total = moved(c, rounds, separation, k)
    return math.sqrt(total @ total) * ROUNDED


def moved(c: np.ndarray, rounds: int, separation: int, participations: int) -> np.ndarray:
    """(rounds,): the sum of the first columns of a Toeplitz C that are `separation` apart."""
    total = np.zeros(rounds)
    for first in range(0, participations * separation, separation):
        total[first : first + c.size] += c[: rounds - first]
    return total


def banded(matrix: np.ndarray, separation: int, participations: int | None = None) -> float:
    """Sensitivity of a lower-triangular C whose columns `separation` apart do not overlap.

    The columns of a participant are then orthogonal: the largest sum of k squared norms at that
    distance, by going through the rounds once; exact, rounded up.

    Args:
        matrix: (n, n), no entry `separation` or more below the diagonal, and no 0 on it.
        separation: rounds from one participation to the next at least.
        participations: k at most; None = as many as fit.

    Raises:
        PrivacyError: no such matrix, or a number out of its range.

    References:
        Choquette-Choo et al. 2023, "(Amplified) Banded Matrix Factorization".
    """
    separation = count("separation", separation)
    c = workload.within(matrix, separation)
    k = schedule(c.shape[0], separation, participations)
    squares = np.sum(c * c, axis=0)
    best = np.zeros(c.shape[0] + separation)  # of rounds j.., with one participation fewer
    for _ in range(k):
        after = best[separation:]
        best = np.zeros_like(best)
        best[: squares.size] = np.maximum.accumulate((squares + after)[::-1])[::-1]
    return math.sqrt(best[0]) * ROUNDED


def event(noise_multiplier: float, sensitivity: float) -> Gaussian:
    """The whole training as one event of a ledger: record it once.

    Args:
        noise_multiplier: deviation of z over the clipping bound.
        sensitivity: of C, from this module.
    """
    multiplier = positive("noise_multiplier", noise_multiplier)
    return Gaussian(multiplier / (positive("sensitivity", sensitivity) * ROUNDED))


def sampled(
    noise_multiplier: float, factor: np.ndarray, rounds: int, separation: int, rate: float
) -> tuple[SampledGaussian, int]:
    """(event, how often it is to be recorded) under Poisson sampling within cyclic blocks.

    Participants stand in `separation` blocks, whoever they are; round t draws each one of block t
    mod `separation` by itself with probability `rate` (`sampling.cyclic_poisson`). If C has no more
    bands than there are blocks, the rounds from one turn of a block to its next depend on one draw
    of a participant alone, so that training is no less private than ceil(n / separation) steps of
    DP-SGD at that rate, with noise over the longest column.

    Args:
        noise_multiplier: deviation of z over the clipping bound.
        factor: C, (n, n) or the coefficients of a Toeplitz matrix.
        rounds: n.
        separation: blocks.
        rate: of the draws within the block, in (0, 1].

    Raises:
        PrivacyError: more bands than blocks, or a number out of its range.

    References:
        Choquette-Choo et al. 2023, "(Amplified) Banded Matrix Factorization", section 5.
    """
    times = schedule(rounds, separation)
    if np.ndim(factor) == 2:
        longest = banded(factor, separation, 1)
        if np.shape(factor)[0] != rounds:
            raise PrivacyError(f"C is for {np.shape(factor)[0]} rounds, but there are {rounds}.")
    else:
        longest = toeplitz(factor, rounds, separation, 1)
        if np.size(factor) > separation:
            raise PrivacyError(
                f"sampling amplifies only where C has no more bands than there are blocks, but"
                f" {np.size(factor)} coefficients meet {separation} blocks; use `event`."
            )
    return SampledGaussian(event(noise_multiplier, longest).noise_multiplier, rate), times
