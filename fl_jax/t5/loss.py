"""The training loss: cross-entropy over the tokens that count, and T5's z-loss."""

import jax
import jax.numpy as jnp

from fl_jax.core.types import Array, Float, Int
from fl_jax.nn import chunked_loss
from fl_jax.t5 import model
from fl_jax.t5.config import Config

IGNORED = -100  # a label that does not count, as transformers marks it


def cross_entropy(
    logits: Float[Array, "batch steps vocab"],
    labels: Int[Array, "batch steps"],
    *,
    z: float = 0.0,
) -> Float[Array, ""]:
    """Mean of -log p(label) + z log(Z)^2 over the labels that are not negative.

    Args:
        logits: float32.
        labels: ids; negative ones do not count.
        z: weight of the z-loss, which keeps the normaliser Z near 1; T5 took 1e-4.
    """
    counts = labels >= 0
    sums = jax.nn.logsumexp(logits, axis=-1)
    own = jnp.take_along_axis(logits, jnp.maximum(labels, 0)[..., None], axis=-1)[..., 0]
    losses = sums - own + z * jnp.square(sums)
    counted = jnp.maximum(jnp.sum(counts), 1).astype(losses.dtype)
    return jnp.sum(jnp.where(counts, losses, 0.0)) / counted


def make(config: Config, *, z: float = 0.0):
    """The loss of a T5 for `train.step.make`.

    Returns:
        loss(variables, batch, key) -> (loss, ({}, {})), where `batch` has `tokens` (B, T),
        `mask` (B, T) and `labels` (B, U), negative where none counts. Loss and derivative are NaN
        where a token or label is no id of the vocabulary.
    """

    def loss(variables, batch, key):
        labels, params = batch["labels"], variables.params
        given = model.shift_right(labels, config)
        key = key if config.dropout else None
        x = model.read(params, config, batch["tokens"], given, batch.get("mask"), key=key)
        known = jnp.all((batch["tokens"] >= 0) & (batch["tokens"] < config.vocab))
        known = jnp.where(known & jnp.all(labels < config.vocab), 1.0, jnp.nan)
        if z:
            return known * cross_entropy(model.logits(params, config, x), labels, z=z), ({}, {})
        counts = (labels >= 0).astype(jnp.float32)
        total = chunked_loss.summed(
            model.scale(x, config), model.head(params, config), labels, counts
        )
        return known * total / jnp.maximum(jnp.sum(counts), 1), ({}, {})

    return loss
