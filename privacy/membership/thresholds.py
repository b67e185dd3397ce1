"""One number per record and a threshold: global, per class, or relative to shadow models."""

import numpy as np

from fl_jax.core import errors, roc
from privacy.membership import table


def calibrated(scores: table.Scores) -> np.ndarray:
    """(records,) how much better the target knows a record than models that did not see it.

    target - mean_out: difficulty calibration [Watson et al., ICLR 2022]. Works with any signal.
    """
    table.require(scores.member, inside=0, outside=1)
    return table.over_queries(lambda one: one.target - _mean(one, ~one.member), scores)


def midpoint(scores: table.Scores) -> np.ndarray:
    """(records,) target - (mean_in + mean_out) / 2, a threshold a record
    [Sablayrolles et al., ICML 2019]."""
    table.require(scores.member, inside=1, outside=1)
    return table.over_queries(
        lambda one: one.target - 0.5 * (_mean(one, one.member) + _mean(one, ~one.member)), scores
    )


def _mean(scores, mask):
    return np.where(mask, scores.shadow, 0).sum(1) / mask.sum(1)


def best(signal: np.ndarray, member: np.ndarray) -> float:
    """The threshold of the best balanced accuracy on shadow models; member if signal >= it."""
    curve = roc.curve(signal, member)
    place = int(np.argmax(curve.tpr - curve.fpr))
    return float(curve.threshold[place]) if place else float(np.nextafter(signal.max(), np.inf))


def per_class(
    signal: np.ndarray,
    labels: np.ndarray,
    shadow_signal: np.ndarray,
    shadow_labels: np.ndarray,
    shadow_member: np.ndarray,
) -> np.ndarray:
    """(records,) signal - threshold of its class, thresholds learnt on shadow models.

    At 0 every class decides as it did best on the shadows [Song, Mittal, USENIX Security 2021].

    Raises:
        DataError: a class of the audited records that has no shadow members or non-members.
    """
    out = np.array(signal, np.float64)
    for c in np.unique(labels):
        own = shadow_labels == c
        inside = int((own & shadow_member).sum())
        if inside == 0 or inside == own.sum():
            raise errors.DataError(
                f"class {int(c)} has {inside} shadow members and {int(own.sum()) - inside}"
                " non-members; a threshold of its own needs both: take more shadows."
            )
        out[labels == c] -= best(shadow_signal[own], shadow_member[own])
    return out
