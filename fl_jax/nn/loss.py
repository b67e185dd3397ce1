"""Losses."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from fl_jax.core.types import Array, Float, Int
from fl_jax.nn.network import Network


def cross_entropy(
    logits: Float[Array, "*shape classes"], labels: Int[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """-log softmax(logits)[label], in float32, one value per example."""
    logits = logits.astype(jnp.float32)
    picked = jnp.take_along_axis(logits, labels[..., None], axis=-1)[..., 0]
    return jax.nn.logsumexp(logits, axis=-1) - picked


def masked_mean(values: Float[Array, " batch"], mask: Float[Array, " batch"] | None):
    """Mean over the examples whose mask is 1; 0 where there is none."""
    if mask is None:
        return jnp.mean(values)
    return jnp.sum(values * mask) / jnp.maximum(jnp.sum(mask), 1)


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
        (batch, ...), `y` (batch,) int32 and, for short batches, `mask` (batch,) 0 or 1.
    """

    def loss(variables, batch, key):
        mask = batch.get("mask")
        noise, dropout = jax.random.split(key)
        x = augment(noise, batch["x"])
        params, batch_stats = variables
        logits, batch_stats = network.apply(
            params, batch_stats, x, train=train, mask=mask, key=dropout if train else None
        )
        right = (jnp.argmax(logits, -1) == batch["y"]).astype(jnp.float32)
        value = masked_mean(cross_entropy(logits, batch["y"]), mask)
        return value, (batch_stats, {"accuracy": masked_mean(right, mask)})

    return loss
