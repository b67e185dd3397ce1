"""Losses."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from fl_jax.core import errors
from fl_jax.core.types import Array, Float, PyTree
from fl_jax.nn.network import Network


def cross_entropy(logits: Float[Array, "*shape classes"], labels: Array) -> Float[Array, "*shape"]:
    """-log softmax(logits)[label], in float32, one value per example.

    Of a label that is no class (-1 among them) it is NaN, and so is the derivative.

    Args:
        logits: over the classes.
        labels: (*shape) integers.

    Raises:
        DataError: labels that are no whole numbers, or not one for each row of logits.
    """
    _check_labels(labels, logits)
    logits = logits.astype(jnp.float32)
    picked = jnp.take_along_axis(logits, labels[..., None], axis=-1)[..., 0]
    # The derivative of what is picked is 0 there: a step that looks at gradients alone would go on.
    known = jnp.where((labels >= 0) & (labels < logits.shape[-1]), 1.0, jnp.nan)
    return (jax.nn.logsumexp(logits, axis=-1) - picked) * known


def _check_labels(labels: Array, logits: Array) -> None:
    if labels.shape != logits.shape[:-1] or not jnp.issubdtype(labels.dtype, jnp.integer):
        raise errors.DataError(
            f"labels must be whole numbers of shape {logits.shape[:-1]}, one for each row of"
            f" logits, got {labels.dtype} of shape {labels.shape}; give classes, not one-hot rows."
        )


def masked_mean(values: Float[Array, " batch"], mask: Float[Array, " batch"] | None):
    """Mean over the examples whose mask is 1; 0 where there is none."""
    if mask is None:
        return jnp.mean(values)
    counted = jnp.where(mask > 0, values * mask, 0.0)  # what is masked may be NaN
    return jnp.sum(counted) / jnp.maximum(jnp.sum(mask), 1)


def _unpadded(x: PyTree, mask: Float[Array, " batch"]) -> PyTree:
    """The rows whose mask is 1, and the first of them in the place of the others: of a NaN that
    fills up a batch, the derivative would be 0 NaN."""
    first = jnp.argmax(mask > 0)
    there = lambda a: (mask > 0).reshape(-1, *[1] * (a.ndim - 1))
    return jax.tree.map(lambda a: jnp.where(there(a), a, a[first][None]), x)


def classification(
    network: Network,
    *,
    train: bool = True,
    augment: Callable[[Array, Array], Array] = lambda key, x: x,
):
    """Mean cross-entropy of a classifier, as a loss for `train.step` and `federated.client`.

    Args:
        network: its outputs are logits.
        train: whether it runs in training mode (dropout, batch statistics).
        augment: (key, x) -> x, applied to the inputs of every batch.

    Returns:
        loss(variables, batch, key) -> (loss, (batch_stats, {"accuracy"})), where `batch` has `x`
        (batch, ...), `y` (batch,) int32 and, for short batches, `mask` (batch,) 0 or 1; whatever
        stands in the rows whose mask is 0 changes nothing.

    Raises:
        DataError: when it is called: a batch without `x` or `y`; labels as in `cross_entropy`.
    """

    def loss(variables, batch, key):
        if not isinstance(batch, Mapping) or not {"x", "y"} <= set(batch):
            got = sorted(set(batch) - {"mask"}) if isinstance(batch, Mapping) else type(batch)
            raise errors.DataError(
                "a classifier's examples are a dict with the inputs `x` and the labels `y`, but"
                f" {got} came; name them so, or write a loss of your own."
            )
        mask = batch.get("mask")
        noise, dropout = jax.random.split(key)
        x = batch["x"] if mask is None else _unpadded(batch["x"], mask)
        x = augment(noise, x)
        params, batch_stats = variables
        logits, batch_stats = network.apply(
            params, batch_stats, x, train=train, mask=mask, key=dropout if train else None
        )
        _check_labels(batch["y"], logits)
        y = batch["y"] if mask is None else jnp.where(mask > 0, batch["y"], 0)
        right = (jnp.argmax(logits, -1) == y).astype(jnp.float32)
        value = masked_mean(cross_entropy(logits, y), mask)
        return value, (batch_stats, {"accuracy": masked_mean(right, mask)})

    return loss
