"""How certain an area under the ROC curve is, and whether one attack beats another over seeds."""

import itertools
from typing import NamedTuple

import numpy as np
from scipy import stats

from fl_jax.core import errors, roc
from fl_jax.core.types import Bool, Float


class Interval(NamedTuple):
    """An area under the ROC curve, with DeLong's 95 % interval for it."""

    auc: float
    low: float
    high: float


def interval(scores: Float[np.ndarray, " n"], positive: Bool[np.ndarray, " n"]) -> Interval:
    """AUC and a 95 % interval over records (DeLong, DeLong, Clarke-Pearson 1988).

    Raises:
        DataError: as `roc.curve`.
    """
    scores, positive = roc.checked(scores, positive)
    have, lack = scores[positive], scores[~positive]
    both = stats.rankdata(np.concatenate([have, lack]))
    # The placement of each score in the other group.
    above = (both[: len(have)] - stats.rankdata(have)) / len(lack)
    below = 1 - (both[len(have) :] - stats.rankdata(lack)) / len(have)
    area = float(np.mean(above))
    spread = [np.var(p, ddof=1) / len(p) if len(p) > 1 else 0.25 for p in (above, below)]
    half = 1.96 * float(np.sqrt(sum(spread)))
    return Interval(area, max(area - half, 0.0), min(area + half, 1.0))


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
    if not np.isfinite(differences).all():
        raise errors.DataError("a paired test takes finite values; leave out seeds that diverged.")
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
