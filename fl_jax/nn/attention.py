"""Causal attention with ALiBi: one function, several ways to compute it, chosen here.

| name | where | how |
|---|---|---|
| `einsum` | anywhere | the whole score matrix; the slow twin that the others are tested against |
| `blocked` | anywhere | block by block of queries, only the keys that they see; own derivative |
| `folded` | anywhere | the score matrix, ALiBi folded into queries and keys: `cudnn` on paper |
| `cudnn` | NVIDIA | folded, `jax.nn.dot_product_attention`: flash, no bias, no score matrix |
| `splash` | TPU | folded, splash attention, which also takes segments |
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fl_jax.core import dtypes, errors
from fl_jax.core.types import Array, Bool, Float, Int, Key
from fl_jax.nn import barrier, position, splash

IMPLEMENTATIONS = ("einsum", "blocked", "folded", "cudnn", "splash")
HIDDEN = -1e30  # score of a key that is not seen: finite, so that a row of them has a derivative
BLOCK, BLOCKS = 64, 16  # queries that `blocked` takes at once, unless those were more blocks


class Seen(NamedTuple):
    """Which keys a query sees, besides those not after it."""

    positions: Int[Array, "batch keys"]  # where keys stand for ALiBi
    mask: Bool[Array, "batch keys"] | None = None  # keys that are there; None = all
    segments: Int[Array, "batch keys"] | None = None  # documents; a query sees its own alone


def attention(
    q: Float[Array, "batch queries heads width"],
    k: Float[Array, "batch keys heads width"],
    v: Float[Array, "batch keys heads width"],
    *,
    slopes: np.ndarray,
    mask: Bool[Array, "batch keys"] | None = None,
    segments: Int[Array, "batch keys"] | None = None,
    positions: Int[Array, "batch keys"] | None = None,
    offset: int | Int[Array, ""] | None = None,
    implementation: str = "auto",
    alibi: str = "relative",
    dropout: float = 0.0,
    key: Key[Array, ""] | None = None,
) -> Float[Array, "batch queries heads width"]:
    """softmax(q k^T / sqrt(width) + slope (p_j - p_i)) v over the keys that are seen.

    Query t is key `offset + t`; it sees the keys up to itself. Scores, ALiBi and softmax are
    float32 whatever the dtype of q, k, v. A query that sees no key returns an arbitrary finite
    value with finite derivatives.

    Args:
        q, k, v: one dtype.
        slopes: (heads,) constants, from `position.alibi_slopes`; zeros for plain attention.
        mask: keys that are there (False: padding, holes).
        segments: ids of packed documents; as many queries as keys then.
        positions: of the keys; by default counted over the mask.
        offset: index of the first query among the keys; queries are the last keys by default.
        implementation: `auto`, or a name from the table of this module.
        alibi: `relative`, or `bf16_key_only`: slope * p_j rounded to the dtype of q as are the
            scores, which is how the PyTorch codes compute it (`einsum` alone).
        dropout: share of the attention weights that is dropped (`einsum` alone).
        key: for dropout.

    Raises:
        ConfigError: an unknown implementation, or one that has not what is asked for.
    """
    queries, keys = q.shape[1], k.shape[1]
    offset = keys - queries if offset is None else offset
    square = isinstance(offset, int) and offset == 0 and queries == keys
    exact = alibi == "relative" and not (dropout and key is not None)
    plain = mask is None and segments is None
    name = choose(implementation, square and exact, plain, q.dtype, q.shape[-1], keys)
    if positions is None:
        if mask is None:
            index = jnp.arange(keys, dtype=jnp.int32)
            positions = jnp.broadcast_to(index, (k.shape[0], keys))
        else:
            positions = position.positions(mask)
    seen = Seen(positions, None if mask is None else mask.astype(bool), segments)
    if name == "einsum":
        return _einsum(q, k, v, slopes, seen, offset, alibi, dropout, key)
    if name == "blocked":
        block = max(BLOCK, -(-queries // BLOCKS))  # every block is compiled for itself
        return _blocked(q, k, v, seen, tuple(np.asarray(slopes).tolist()), block)
    if name == "splash":
        return _splash(q, k, v, slopes, seen)
    return (_cudnn if name == "cudnn" else _folded)(q, k, v, slopes, seen)


def choose(asked: str, training: bool, plain: bool, dtype, width: int, keys: int = 0) -> str:
    """The implementation to use: the one place where that is decided.

    Args:
        asked: `auto`, or a name that is kept if it can do it.
        training: as many queries as keys, float32 ALiBi, no dropout.
        plain: no mask on the keys and no packed documents.
        dtype: of q, k and v.
        width: of a head, before ALiBi is folded in.
        keys: how many; folded ALiBi is exact up to `position.LONGEST`.

    Raises:
        ConfigError: what was asked for cannot do it.
    """
    if asked != "auto":
        errors.one_of("attention", asked, IMPLEMENTATIONS)
    short = dtype in (jnp.bfloat16, jnp.float16)
    folded = width + position.FOLDED
    exact = keys <= position.LONGEST
    able = {
        "einsum": True,
        "blocked": training,
        "folded": training and exact,
        "cudnn": training and exact and plain and short and folded + -folded % 8 <= _cudnn_width(),
        "splash": training and exact,
    }
    if asked == "auto":
        backend = jax.default_backend()
        best = {"gpu": "cudnn", "tpu": "splash"}.get(backend, "blocked")
        return next(name for name in (best, "blocked", "einsum") if able[name])
    if asked in ("blocked", "folded", "splash") and not training:
        return "einsum"  # decoding with a cache, dropout: only this one is general
    if not exact and not able[asked]:
        raise errors.ConfigError(
            f"attention {asked!r} folds ALiBi into queries and keys, which is exact for"
            f" {position.LONGEST} keys, and here are {keys}; choose 'auto' or 'blocked'."
        )
    if not able[asked]:
        raise errors.ConfigError(
            f"attention {asked!r} takes whole sequences of bfloat16 or float16 without mask,"
            f" segments or dropout, and here heads of up to {_cudnn_width()} with ALiBi folded in"
            f" (these are {folded}); choose 'auto', which falls back where it must."
        )
    return asked


def _cudnn_width() -> int:
    """The widest heads that cuDNN's flash attention takes on this device; 0 if it takes none.

    256 from compute capability 9.0 on, 128 from 8.0 on [jax 0.10.2, check_is_flash_attention].
    """
    capability = getattr(jax.local_devices()[0], "compute_capability", "")
    major = capability.partition(".")[0]  # AMD's are names, as "gfx942"
    generation = int(major) if major.isdigit() else 0
    return 256 if generation >= 9 else 128 if generation >= 8 else 0


def _scale(q) -> float:
    return 1 / math.sqrt(q.shape[-1])


def _per_head(slopes, dtype=jnp.float32):
    return jnp.asarray(slopes, dtype)[None, :, None, None]


def _einsum(q, k, v, slopes, seen, offset, alibi, dropout, key, scale=None):
    """The definition, word for word; without slopes, ALiBi is in q and k already."""
    wide = dtypes.wide(q.dtype)
    queries, keys = q.shape[1], k.shape[1]
    scores = jnp.einsum("bthd,bshd->bhts", q, k, preferred_element_type=wide)
    scores *= scale or _scale(q)
    at = seen.positions.astype(wide)
    if slopes is None:
        pass
    elif alibi == "relative":
        own = jax.lax.dynamic_slice_in_dim(at, offset, queries, axis=1)
        distance = at[:, None, None, :] - own[:, None, :, None]
        scores += _per_head(slopes, wide) * distance
    else:
        bias = (_per_head(slopes, wide) * at[:, None, None, :]).astype(q.dtype)
        scores = (scores + bias.astype(wide)).astype(q.dtype).astype(wide)
    places = lambda count: jnp.arange(count, dtype=jnp.int32)  # as the offset is
    visible = places(keys)[None, :] <= (places(queries) + offset)[:, None]
    visible = visible[None, None]
    if seen.mask is not None:
        visible &= seen.mask[:, None, None, :]
    if seen.segments is not None:
        visible &= seen.segments[:, None, :, None] == seen.segments[:, None, None, :]
    weights = jax.nn.softmax(jnp.where(visible, scores, HIDDEN), axis=-1)
    if dropout and key is not None:
        kept = jax.random.bernoulli(key, 1 - dropout, weights.shape)
        weights = jnp.where(kept, weights / (1 - dropout), 0.0)
    return jnp.einsum("bhts,bshd->bthd", weights.astype(v.dtype), v)


def _block_scores(q, k, at, mask, segments, slopes, start, wide, transposed=False):
    """Scores (batch, heads, block, start + block) of queries start.. against the keys so far.

    `transposed` puts the keys before the queries.
    """
    block, keys = q.shape[2], k.shape[2]
    of_queries = lambda a: a[:, None, None, :] if transposed else a[:, None, :, None]
    of_keys = lambda a: a[:, None, :, None] if transposed else a[:, None, None, :]
    first, second, out = ("bhsd", "bhtd", "bhst") if transposed else ("bhtd", "bhsd", "bhts")
    sides = (k, q) if transposed else (q, k)
    scores = jnp.einsum(f"{first},{second}->{out}", *sides, preferred_element_type=wide)
    distance = (of_keys(at[:, :keys]) - of_queries(at[:, start:keys])).astype(wide)
    scores = scores * _scale(q) + _per_head(slopes, wide) * distance
    visible = of_keys(np.arange(keys)[None]) <= of_queries(np.arange(start, start + block)[None])
    if mask is not None:
        visible = visible & of_keys(mask[:, :keys])
    if segments is not None:
        same = of_queries(segments[:, start:keys]) == of_keys(segments[:, :keys])
        visible = visible & same
    return jnp.where(visible, scores, HIDDEN)


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def _blocked(q, k, v, seen, slopes, block):
    return _blocked_forward(q, k, v, seen, slopes, block)[0]


def _blocked_forward(q, k, v, seen, slopes, block):
    wide = dtypes.wide(q.dtype)
    heads_first = [a.transpose(0, 2, 1, 3) for a in (q, k, v)]
    qh, kh, vh = heads_first
    outs, sums = [], []
    for start in range(0, q.shape[1], block):
        end = min(start + block, q.shape[1])
        scores = _block_scores(qh[:, :, start:end], kh[:, :, :end], *seen, slopes, start, wide)
        top = jax.lax.stop_gradient(jnp.max(scores, axis=-1, keepdims=True))
        weights = jnp.exp(scores - top)
        total = jnp.sum(weights, axis=-1, keepdims=True)
        out = jnp.einsum(
            "bhts,bhsd->bhtd", weights.astype(v.dtype), vh[:, :, :end], preferred_element_type=wide
        )
        outs.append((out / total).astype(v.dtype))
        sums.append(top + jnp.log(total))
    out = jnp.concatenate(outs, axis=2)
    return out.transpose(0, 2, 1, 3), (*heads_first, seen, out, jnp.concatenate(sums, axis=2))


def _blocked_backward(slopes, block, residuals, g):
    q, k, v, seen, out, sums = residuals
    wide = dtypes.wide(q.dtype)
    g = g.transpose(0, 2, 1, 3)
    inner = jnp.sum(g.astype(wide) * out.astype(wide), axis=-1, keepdims=True)
    row = lambda a: jnp.swapaxes(a, 2, 3)
    turned = barrier.materialize(jnp.swapaxes(k, 2, 3))
    dq, dk, dv = [], [], []
    for start in range(0, q.shape[2], block):
        end = min(start + block, q.shape[2])
        own = slice(start, end)
        qi, gi, ki, vi = q[:, :, own], g[:, :, own], k[:, :, :end], v[:, :, :end]
        # Keys by queries, so that the sums over queries are plain matrix products.
        scores = _block_scores(qi, ki, *seen, slopes, start, wide, transposed=True)
        weights = jnp.exp(scores - row(sums[:, :, own]))
        dweights = jnp.einsum("bhsd,bhtd->bhst", vi, gi, preferred_element_type=wide)
        dscores = (weights * (dweights - row(inner[:, :, own])) * _scale(q)).astype(q.dtype)
        kt = turned[..., :end]
        dqi = jnp.einsum("bhds,bhst->bhdt", kt, dscores, preferred_element_type=wide)
        dq.append(barrier.materialize(dqi.astype(q.dtype)))
        dk.append(jnp.einsum("bhst,bhtd->bhsd", dscores, qi, preferred_element_type=wide))
        dv.append(
            jnp.einsum("bhst,bhtd->bhsd", weights.astype(g.dtype), gi, preferred_element_type=wide)
        )
    dq = jnp.swapaxes(jnp.concatenate(dq, axis=3), 2, 3)
    dk, dv = (_sum_prefixes(parts, block) for parts in (dk, dv))
    back = lambda a, like: a.astype(like.dtype).transpose(0, 2, 1, 3)
    return back(dq, q), back(dk, k), back(dv, v), None


def _sum_prefixes(parts, block):
    """Sum of arrays that cover keys 0.., each longer than the one before, block by block."""
    columns = []
    for i in range(len(parts)):
        own = slice(i * block, (i + 1) * block)
        columns.append(functools.reduce(jnp.add, [part[:, :, own] for part in parts[i:]]))
    return jnp.concatenate(columns, axis=2)


_blocked.defvjp(_blocked_forward, _blocked_backward)


def _fold(q, k, slopes, positions, multiple):
    """q and k with the ALiBi columns, their width filled up to a multiple."""
    batch, keys, heads, width = k.shape
    columns, at = position.fold_alibi(slopes, _scale(q), positions - (keys - 1))
    columns = jnp.broadcast_to(columns[None, None], (batch, keys, heads, columns.shape[-1]))
    at = jnp.broadcast_to(at[:, :, None, :], (batch, keys, heads, at.shape[-1]))
    missing = -(width + position.FOLDED) % multiple
    fill = jnp.zeros((batch, keys, heads, missing), q.dtype)
    join = lambda a, extra: jnp.concatenate([a, extra.astype(a.dtype), fill], axis=-1)
    return join(q, columns), join(k, at)


def _folded(q, k, v, slopes, seen):
    folded_q, folded_k = _fold(q, k, slopes, seen.positions, 8)
    return _einsum(folded_q, folded_k, v, None, seen, 0, None, 0.0, None, _scale(q))


def _cudnn(q, k, v, slopes, seen):
    width = q.shape[-1]
    folded_q, folded_k = _fold(q, k, slopes, seen.positions, 8)
    fill = [(0, 0)] * 3 + [(0, folded_k.shape[-1] - width)]
    with jax.numpy_dtype_promotion("standard"):  # JAX's own code does not hold without it
        out = jax.nn.dot_product_attention(
            folded_q,
            folded_k,
            jnp.pad(v, fill),  # cuDNN before 9.10 wants one width for q, k and v
            scale=_scale(q),
            is_causal=True,
            implementation="cudnn",
        )
    return out[..., :width]


def _splash(q, k, v, slopes, seen):
    """A masked key is a segment of its own, which no query belongs to."""
    folded_q, folded_k = _fold(q, k, slopes, seen.positions, 8)
    segments = seen.segments
    if seen.mask is not None:
        there = jnp.zeros_like(seen.positions) if segments is None else segments
        segments = jnp.where(seen.mask, there, -1)
    return splash.attention(folded_q * _scale(q), folded_k, v, segments)
