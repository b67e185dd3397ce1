"""Attention as T5 has it: no scale, an additive bias, softmax in float32."""

import jax
import jax.numpy as jnp

from fl_jax.core import dtypes
from fl_jax.core.types import Array, Bool, Float, Key
from fl_jax.nn import barrier

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
    if not dropout or key is None:
        return _attention(q, k, v, bias, mask)
    weights = jax.nn.softmax(_scores(q, k, bias, mask), axis=-1)
    kept = jax.random.bernoulli(key, 1 - dropout, weights.shape)
    weights = jnp.where(kept, weights / (1 - dropout), 0.0)
    return jnp.einsum("bhqk,bkhd->bqhd", weights.astype(v.dtype), v)


def _scores(q, k, bias, mask):
    scores = jnp.einsum("bqhd,bkhd->bhqk", q, k, preferred_element_type=dtypes.wide(q.dtype))
    if bias is not None:
        scores = scores + jnp.broadcast_to(bias.astype(scores.dtype), scores.shape)
    return scores if mask is None else jnp.where(mask, scores, HIDDEN)


@jax.custom_vjp
def _attention(q, k, v, bias, mask):
    """The same without dropout, with keys before queries everywhere: sums over keys then add
    whole rows, and no array of scores is turned around for a product, here or in the derivative.
    """
    return _forward(q, k, v, bias, mask)[0]


def _forward(q, k, v, bias, mask):
    wide = dtypes.wide(q.dtype)
    q, k, v = (a.transpose(0, 2, 1, 3) for a in (q, k, v))
    scores = jnp.einsum("bhkd,bhqd->bhkq", k, q, preferred_element_type=wide)
    if bias is not None:
        by_key = jnp.swapaxes(bias, 2, 3).astype(wide)
        scores = scores + jnp.broadcast_to(by_key, scores.shape)
    if mask is not None:
        scores = jnp.where(jnp.swapaxes(mask, 2, 3), scores, HIDDEN)
    top = jnp.max(scores, axis=2, keepdims=True)
    weights = jnp.exp(scores - top)
    total = jnp.sum(weights, axis=2, keepdims=True)
    weights = weights.astype(v.dtype)
    turned = barrier.materialize(jnp.swapaxes(v, 2, 3))
    out = jnp.einsum("bhdk,bhkq->bhdq", turned, weights, preferred_element_type=wide)
    out = (out / total).astype(v.dtype)
    return out.transpose(0, 3, 1, 2), (q, k, v, bias, mask, weights, total, out)


def _backward(saved, g):
    q, k, v, bias, mask, weights, total, out = saved
    wide = total.dtype
    by_width = g.transpose(0, 2, 3, 1)
    inner = jnp.sum(by_width.astype(wide) * out.astype(wide), axis=2, keepdims=True)
    g = g.transpose(0, 2, 1, 3)
    dweights = jnp.einsum("bhkd,bhqd->bhkq", v, g, preferred_element_type=wide)
    dscores = weights.astype(wide) * ((dweights - inner) / total)
    if mask is not None:
        dscores = jnp.where(jnp.swapaxes(mask, 2, 3), dscores, 0)
    dbias = None
    if bias is not None:
        rows = dscores if bias.shape[0] > 1 else jnp.sum(dscores, axis=0, keepdims=True)
        dbias = jnp.swapaxes(rows, 2, 3).astype(bias.dtype)
    dscores = dscores.astype(q.dtype)
    turned = barrier.materialize(jnp.swapaxes(k, 2, 3))
    dq = jnp.einsum("bhdk,bhkq->bhdq", turned, dscores, preferred_element_type=wide)
    dk = jnp.einsum("bhkq,bhqd->bhkd", dscores, q, preferred_element_type=wide)
    scaled = (g.astype(wide) / jnp.swapaxes(total, 2, 3)).astype(v.dtype)
    dv = jnp.einsum("bhkq,bhqd->bhkd", weights, scaled, preferred_element_type=wide)
    heads_last = lambda a, like: a.astype(like.dtype).transpose(0, 2, 1, 3)
    dq = dq.astype(q.dtype).transpose(0, 3, 1, 2)
    return dq, heads_last(dk, k), heads_last(dv, v), dbias, None


_attention.defvjp(_forward, _backward)


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
