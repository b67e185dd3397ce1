"""One number per (model, record): how well the model knows the record's label.

All in float64 NumPy, from logits or from probabilities; larger means "member" throughout.
"""

import numpy as np
from scipy import special

from fl_jax.core import errors

TINY = 1e-45  # inside logarithms [TF Privacy, mi_lira_2021]
SUM = 1e-3  # how far probabilities may be from adding up to 1


def probabilities(outputs: np.ndarray) -> np.ndarray:
    """The outputs as float64, if they are probabilities.

    Args:
        outputs: (..., classes).

    Raises:
        DataError: negative or not finite, or not adding up to 1 over the classes.
    """
    outputs = np.asarray(outputs, np.float64)
    if not np.all(np.isfinite(outputs)) or outputs.min(initial=0.0) < 0:
        raise errors.DataError(
            "probabilities must be finite and at least 0; apply softmax to logits, and look for"
            " a model that diverged."
        )
    total = outputs.sum(-1)
    worst = float(np.max(np.abs(total - 1), initial=0.0))
    if worst > SUM:
        raise errors.DataError(
            f"probabilities must add up to 1 over the last axis, but one row adds up to"
            f" {float(total.flat[np.argmax(np.abs(total - 1))]):.4g}; apply softmax to logits; of"
            " answers that were rounded or cut off, take the whole, or divide by the sum."
        )
    return outputs


def check_labels(labels: np.ndarray, classes: int) -> np.ndarray:
    """The labels, if they lie in 0..classes-1.

    Raises:
        DataError: they do not, or are no whole numbers.
    """
    labels = np.asarray(labels)
    if labels.size and not np.issubdtype(labels.dtype, np.integer):
        raise errors.DataError(f"labels must be whole numbers, got {labels.dtype}; give classes.")
    if labels.size and not (labels.min() >= 0 and labels.max() < classes):
        raise errors.DataError(
            f"labels must lie in 0..{classes - 1}, but they range from {labels.min()} to"
            f" {labels.max()}; relabel them."
        )
    return labels


def _labels(outputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    labels = check_labels(labels, outputs.shape[-1])
    if labels.shape != outputs.shape[-2:-1]:
        raise errors.DataError(
            f"answers of shape {outputs.shape}, (..., records, classes), need labels of shape"
            f" {outputs.shape[-2:-1]}, got {labels.shape}."
        )
    return np.broadcast_to(labels, outputs.shape[:-1])[..., None]


def confidence(outputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """p_y, the probability of the true label.

    Args:
        outputs: (..., records, classes) probabilities.
        labels: (records,).

    Returns:
        (..., records).
    """
    outputs = np.asarray(outputs)
    return np.take_along_axis(outputs, _labels(outputs, labels), -1)[..., 0]


def loss(outputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """log p_y = minus the cross-entropy [Yeom et al., CSF 2018]; arguments as `confidence`."""
    return np.log(confidence(probabilities(outputs), labels) + TINY)


def logit(outputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """phi = log p_y - log sum_{c != y} p_c, near Gaussian over models [Carlini et al. 2022].

    Args:
        outputs: (..., records, classes) probabilities.
        labels: (records,).

    Returns:
        (..., records).

    Example:
        >>> round(float(logit(np.array([[0.8, 0.2]]), np.array([0]))[0]), 4)
        1.3863
    """
    outputs = probabilities(outputs)
    return np.log(confidence(outputs, labels) + TINY) - np.log(_rest(outputs, labels) + TINY)


def logit_from_logits(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """phi by log-sum-exp, finite where the softmax has already rounded to 1; shapes as `logit`."""
    logits = np.asarray(logits, np.float64)
    where = _labels(logits, labels)
    _several(logits)
    others = logits.copy()
    np.put_along_axis(others, where, -np.inf, -1)
    return np.take_along_axis(logits, where, -1)[..., 0] - special.logsumexp(others, axis=-1)


def _rest(outputs, labels):
    """Sum over the other classes, added up rather than subtracted from 1."""
    _several(outputs)
    others = outputs.copy()
    np.put_along_axis(others, _labels(outputs, labels), 0.0, -1)
    return others.sum(-1)


def _several(outputs):
    if outputs.shape[-1] < 2:
        raise errors.DataError(
            "phi compares a label's probability with that of the other classes, and there is one"
            " class alone; give answers over two at least, (1 - p, p) for a single output p."
        )


def entropy(outputs: np.ndarray) -> np.ndarray:
    """sum_c p_c log p_c, minus the entropy [Salem et al., NDSS 2019]; label not needed.

    Args:
        outputs: (..., classes) probabilities.

    Returns:
        (...).
    """
    return special.xlogy(outputs := probabilities(outputs), outputs).sum(-1)


def modified_entropy(outputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Minus Mentr = (1 - p_y) log p_y + sum_{c != y} p_c log(1 - p_c) [Song, Mittal 2021].

    Unlike the entropy it tells a confident wrong answer from a confident right one: it is 0 for
    the best answer and goes to minus infinity for the worst.

    Args:
        outputs: (..., records, classes) probabilities.
        labels: (records,).

    Returns:
        (..., records).
    """
    outputs = probabilities(outputs)
    right = confidence(outputs, labels)
    others = outputs.copy()
    np.put_along_axis(others, _labels(outputs, labels), 0.0, -1)
    wrong = (others * np.log1p(-np.minimum(others, 1 - 1e-16))).sum(-1)
    return (1 - right) * np.log(right + TINY) + wrong
