"""The receiver operating characteristic: how well scores tell two groups apart."""

from typing import NamedTuple

import numpy as np

from fl_jax.core import errors
from fl_jax.core.types import Float


class Curve(NamedTuple):
    """A receiver operating characteristic, from (0, 0) to (1, 1)."""

    fpr: Float[np.ndarray, " points"]  # false positive rates
    tpr: Float[np.ndarray, " points"]  # true positive rates
    threshold: Float[np.ndarray, " points"]  # positive if score >= threshold

    @property
    def area(self) -> float:
        """Pr[a positive's score > a negative's] + half the ties (Mann-Whitney)."""
        return float(np.trapezoid(self.tpr, self.fpr))


def curve(scores: np.ndarray, positive: np.ndarray) -> Curve:
    """The curve over all thresholds, equal scores decided together.

    Args:
        scores: (n,) higher = more likely positive.
        positive: (n,) bool, who is.

    Raises:
        DataError: shapes that do not fit, NaN, or one of the two groups missing.

    Example:
        >>> curve(np.array([3.0, 1.0, 1.0]), np.array([True, True, False])).area
        0.75
    """
    scores, positive = checked(scores, positive)
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    true = np.cumsum(positive[order])[last]
    false = last + 1 - true
    start = np.zeros(1)
    return Curve(
        np.concatenate([start, false / (~positive).sum()]),
        np.concatenate([start, true / positive.sum()]),
        np.concatenate([[np.inf], ranked[last]]),
    )


def area(scores: np.ndarray, positive: np.ndarray) -> float:
    """That under `curve(scores, positive)`; arguments and errors as there."""
    return curve(scores, positive).area


def checked(scores: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as arrays, float64 and bool.

    Raises:
        DataError: as `curve`.
    """
    scores, positive = np.asarray(scores, np.float64), np.asarray(positive)
    if positive.dtype != bool or positive.shape != scores.shape or scores.ndim != 1:
        raise errors.DataError(
            "telling two groups apart needs scores (n,) and a bool mask of the same shape, got"
            f" {scores.shape} and {positive.dtype} {positive.shape}."
        )
    if not positive.any() or positive.all():
        raise errors.DataError(
            f"telling two groups apart needs both of them, got {int(positive.sum())} positive and"
            f" {int((~positive).sum())} negative scores."
        )
    if np.isnan(scores).any():
        raise errors.DataError("some scores are NaN; look for a model that diverged.")
    return scores, positive
