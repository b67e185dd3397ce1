"""Attention as T5 has it: no scale, an additive bias, softmax in float32."""

import jax
import jax.numpy as jnp

from fl_jax.core import dtypes
from fl_jax.core.types import Array, Bool, Float, Key

HIDDEN = -1e30  # a finite score: a row that sees nothing stays finite


def attention(
    q: Float[Array, "batch queries heads width"],
    k: Float[Array, "batch keys heads width"],
    v: Float[Array, "batch keys heads width"],
    *,
    bias: Float[Array, "rows heads queries keys"] | None = None,
    mask: Bool[Array, "masks 1 wide keys"] | None = None,
    dropout: float = 0.0,
    key: Key[Array, ""] | None = None,
) -> Float[Array, "batch queries heads width"]:
    """softmax(q k^T + bias) v; a mask of False hides a key. Rows of one stand for all."""
    wide = dtypes.wide(q.dtype)
    scores = jnp.einsum("bqhd,bkhd->bhqk", q, k, preferred_element_type=wide)
    if bias is not None:
        scores = scores + jnp.broadcast_to(bias.astype(wide), scores.shape)
    if mask is not None:
        scores = jnp.where(mask, scores, HIDDEN)
    weights = _drop(jax.nn.softmax(scores, axis=-1), dropout, key)
    return jnp.einsum("bhqk,bkhd->bqhd", weights.astype(v.dtype), v)


def own_keys(
    q: Float[Array, "batch queries heads width"],
    k: Float[Array, "batch queries keys heads width"],
    v: Float[Array, "batch queries keys heads width"],
    *,
    bias: Float[Array, "heads keys"],
) -> Float[Array, "batch queries heads width"]:
    """The same where every query has keys of its own: the ancestors of a node of a tree."""
    wide = dtypes.wide(q.dtype)
    scores = jnp.einsum("bqhd,bqkhd->bqhk", q, k, preferred_element_type=wide)
    scores = scores + jnp.broadcast_to(bias.astype(wide), scores.shape)
    weights = jax.nn.softmax(scores, axis=-1)
    return jnp.einsum("bqhk,bqkhd->bqhd", weights.astype(v.dtype), v)


def _drop(weights, rate, key):
    if not rate or key is None:
        return weights
    kept = jax.random.bernoulli(key, 1 - rate, weights.shape)
    return jnp.where(kept, weights / (1 - rate), 0.0)
