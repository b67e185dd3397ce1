"""How well scores tell two groups apart, and whether one attack beats another over seeds."""

import itertools
from typing import NamedTuple

import numpy as np
from scipy import stats

from fl_jax.core import errors
from fl_jax.core.types import Bool, Float


def auc(scores: Float[np.ndarray, " n"], positive: Bool[np.ndarray, " n"]) -> float:
    """Area under the ROC curve: the chance that a positive scores above a negative, ties half.

    Raises:
        DataError: only one of the groups is there.

    Example:
        >>> import numpy as np
        >>> auc(np.array([0.1, 0.4, 0.4, 0.9]), np.array([False, False, True, True]))
        0.875
    """
    return interval(scores, positive).auc


class Interval(NamedTuple):
    """An area under the ROC curve, with DeLong's 95 % interval for it."""

    auc: float
    low: float
    high: float


def interval(scores: Float[np.ndarray, " n"], positive: Bool[np.ndarray, " n"]) -> Interval:
    """AUC and a 95 % interval over records (DeLong, DeLong, Clarke-Pearson 1988)."""
    positive = np.asarray(positive, bool)
    have, lack = np.asarray(scores, float)[positive], np.asarray(scores, float)[~positive]
    if not len(have) or not len(lack):
        raise errors.DataError(
            f"a ROC curve needs both groups, got {len(have)} positive and {len(lack)} negative"
            " scores."
        )
    both = stats.rankdata(np.concatenate([have, lack]))
    # The placement of each score in the other group.
    above = (both[: len(have)] - stats.rankdata(have)) / len(lack)
    below = 1 - (both[len(have) :] - stats.rankdata(lack)) / len(have)
    area = float(np.mean(above))
    spread = [np.var(p, ddof=1) / len(p) if len(p) > 1 else 0.25 for p in (above, below)]
    half = 1.96 * float(np.sqrt(sum(spread)))
    return Interval(area, max(area - half, 0.0), min(area + half, 1.0))


def roc(
    scores: Float[np.ndarray, " n"], positive: Bool[np.ndarray, " n"]
) -> tuple[np.ndarray, np.ndarray]:
    """(false positive rates, true positive rates) of all thresholds, from (0, 0) to (1, 1)."""
    order = np.argsort(-np.asarray(scores, float), kind="stable")
    hit = np.asarray(positive, bool)[order]
    last = np.append(np.diff(np.asarray(scores, float)[order]) != 0, True)  # of equal scores
    true, false = np.cumsum(hit)[last], np.cumsum(~hit)[last]
    return np.append(0, false / max(false[-1], 1)), np.append(0, true / max(true[-1], 1))


class Paired(NamedTuple):
    """Whether differences over seeds are above 0."""

    mean: float
    p: float  # one-sided, of the exact sign-flip test
    t_p: float  # one-sided, of Student's paired test
    pairs: int


def paired(better: Float[np.ndarray, " seeds"], worse: Float[np.ndarray, " seeds"]) -> Paired:
    """One-sided paired tests that `better` exceeds `worse`, seed by seed.

    The sign-flip test is exact and assumes only that, were there no difference, each one could
    as well have had the other sign; with n seeds its p is at least 2^-n.

    Example:
        >>> import numpy as np
        >>> paired(np.array([0.9, 0.8, 0.9]), np.array([0.7, 0.7, 0.6])).p
        0.125
    """
    differences = np.asarray(better, float) - np.asarray(worse, float)
    if differences.ndim != 1 or not 2 <= len(differences) <= 20:
        raise errors.DataError(
            f"a paired test takes 2 to 20 pairs of values, got shape {differences.shape}."
        )
    signs = np.array(list(itertools.product((1, -1), repeat=len(differences))))
    sums = signs @ differences
    exact = float(np.mean(sums >= np.sum(differences) - 1e-12))
    spread = differences.std(ddof=1)
    if spread == 0:
        student = 0.0 if differences[0] > 0 else 1.0
    else:
        student = float(stats.ttest_1samp(differences, 0, alternative="greater").pvalue)
    return Paired(float(differences.mean()), exact, student, len(differences))
