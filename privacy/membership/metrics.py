"""How good an attack is: where it errs rarely, with what certainty, and for whom.

Scores are larger for members throughout; `member` says who is one.
"""

import math
from typing import NamedTuple

import numpy as np

from fl_jax.core import errors, intervals, roc
from privacy.membership import signals

RESOLVE = 5  # false positives that a rate must rest on to be reported


class Unresolved(errors.DataError):
    """The sample is too small for the false-positive rate that was asked for."""


class Rate(NamedTuple):
    """A share with its two-sided Clopper-Pearson interval."""

    value: float
    low: float
    high: float


def interval(hits: int, trials: int, confidence: float = 0.95) -> Rate:
    """hits / trials with the interval of Clopper and Pearson (1934).

    Example:
        >>> [round(v, 4) for v in interval(0, 10)]
        [0.0, 0.0, 0.3085]
    """
    if not 0 <= hits <= trials or trials == 0:
        raise errors.DataError(f"a rate needs 0 <= hits <= trials > 0, got {hits} of {trials}.")
    if not 0 < confidence < 1:
        raise errors.ConfigError(
            f"a confidence lies between 0 and 1, got {confidence}; 0.95 is 95 %."
        )
    return Rate(hits / trials, *intervals.clopper_pearson(hits, trials, (1 - confidence) / 2))


def balanced_accuracy(scores: np.ndarray, member: np.ndarray) -> float:
    """max over thresholds of 1 - (FPR + 1 - TPR) / 2: the best an oracle's threshold gives."""
    curve = roc.curve(scores, member)
    return float(np.max(1 - (curve.fpr + 1 - curve.tpr) / 2))


def tpr_at(scores: np.ndarray, member: np.ndarray, fpr: float, *, confidence: float = 0.95) -> Rate:
    """The true-positive rate at the last threshold whose false-positive rate is at most `fpr`.

    The interval is that of the share of members above the threshold, the threshold taken as
    given; how far its own false-positive rate is uncertain is told by `false_positive_rate`.

    Raises:
        Unresolved: fewer than 5 of the non-members make up this rate.
    """
    resolve(fpr, int((~np.asarray(member, bool)).sum()))
    curve = roc.curve(scores, member)
    last = int(np.flatnonzero(curve.fpr <= fpr)[-1])
    inside = int(np.sum(member))
    return interval(round(curve.tpr[last] * inside), inside, confidence)


def resolve(fpr: float, outside: int) -> None:
    """Refuses a rate that rests on fewer than 5 of so many non-members.

    Raises:
        Unresolved: it does, and how many it would take is said.
        ConfigError: not a rate.
    """
    if not 0 < fpr < 1:
        raise errors.ConfigError(f"a false-positive rate lies between 0 and 1, got {fpr}.")
    if fpr * outside < RESOLVE:
        # rounded up, or it would be refused as well
        larger = math.ceil(1e4 * RESOLVE / outside) / 1e4 if outside > RESOLVE else None
        raise Unresolved(
            f"a false-positive rate of {fpr:g} of {outside} non-members is"
            f" {fpr * outside:.2g} records, too few to resolve; it takes at least"
            f" {math.ceil(RESOLVE / fpr)} non-members"
            f"{f' (or ask for {larger:g})' if larger else ''}."
        )


class Decision(NamedTuple):
    """An attack that decides: what a fixed threshold does to the target."""

    threshold: float
    tpr: Rate
    fpr: Rate

    def ppv(self, prior: float) -> float:
        """Positive predictive value at this share of members; NaN if nobody is accused."""
        return ppv(self.tpr.value, self.fpr.value, prior)


def decide(
    scores: np.ndarray, member: np.ndarray, threshold: float, *, confidence: float = 0.95
) -> Decision:
    """What calling everyone with score >= threshold a member does; infinity calls nobody one."""
    scores, member = roc.checked(scores, member)
    if math.isnan(threshold):
        raise errors.ConfigError("no score is above or below a threshold of NaN.")
    accused = scores >= threshold
    return Decision(
        float(threshold),
        interval(int((accused & member).sum()), int(member.sum()), confidence),
        interval(int((accused & ~member).sum()), int((~member).sum()), confidence),
    )


def shadow_threshold(scores: np.ndarray, member: np.ndarray, fpr: float) -> float:
    """The lowest threshold that keeps to `fpr` on shadow models standing in for the target.

    An attacker has no ROC of the target; this is how it gets a threshold without one.

    Args:
        scores: (shadow scores,) of attacks on shadow models (`table.leave_one_out`), pooled.
        member: (shadow scores,) bool, their true membership.
        fpr: wanted.

    Raises:
        Unresolved: too few shadow non-members for this rate.
    """
    resolve(fpr, int((~np.asarray(member, bool)).sum()))
    curve = roc.curve(scores, member)
    return float(curve.threshold[np.flatnonzero(curve.fpr <= fpr)[-1]])


def ppv(tpr: float, fpr: float, prior: float) -> float:
    """Share of the accused who are members, when `prior` of the population are.

    Example:
        >>> round(ppv(0.5, 0.01, 0.01), 3)
        0.336
    """
    if not 0 < prior < 1:
        raise errors.ConfigError(f"a prior lies between 0 and 1, got {prior}.")
    accused = tpr * prior + fpr * (1 - prior)
    return tpr * prior / accused if accused > 0 else math.nan


class ByClass(NamedTuple):
    """Precision and recall of the accusation "member", per class and together."""

    precision: np.ndarray  # (classes,), NaN where nobody is accused
    recall: np.ndarray  # (classes,), NaN where there is no member
    total_precision: float
    total_recall: float
    accuracy: float


def by_class(accused: np.ndarray, member: np.ndarray, labels: np.ndarray, classes: int) -> ByClass:
    """Precision and recall per true class [Shokri et al. 2017, VI-D].

    Args:
        accused, member: (records,) bool.
        labels: (records,) int.
        classes: how many there are.

    Raises:
        DataError: labels outside the classes, or not one of each a record.
    """
    labels = signals.check_labels(labels, classes)
    accused, member = np.asarray(accused, bool), np.asarray(member, bool)
    if not accused.shape == member.shape == labels.shape or labels.ndim != 1:
        raise errors.DataError(
            "every record needs an accusation, a membership and a label, got shapes"
            f" {accused.shape}, {member.shape} and {labels.shape}."
        )
    hits = np.bincount(labels, weights=accused & member, minlength=classes)
    named = np.bincount(labels, weights=accused, minlength=classes)
    inside = np.bincount(labels, weights=member, minlength=classes)
    share = lambda a, b: np.divide(a, b, out=np.full(classes, np.nan), where=b > 0)
    one = lambda a, b: float(a.sum() / b.sum()) if b.sum() else math.nan
    return ByClass(
        share(hits, named), share(hits, inside), one(hits, named), one(hits, inside),
        float(np.mean(accused == member)),
    )  # fmt: skip


def cdf(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(sorted values, share at or below each), NaN left out: the paper's plots over classes."""
    kept = np.sort(values[~np.isnan(values)])
    return kept, np.arange(1, len(kept) + 1) / max(len(kept), 1)
