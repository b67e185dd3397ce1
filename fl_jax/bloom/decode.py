"""One more token for every row: the forward pass of `model`, laid out for so little work.

With one token a row a step reads every weight once and hardly computes, so what counts is that
nothing else is read or written. Layers are arrays of their own (a slice of stacked ones would be
copied at every step), a cache lies as its products read it, and activations stand features first,
rows last: matrix kernels then multiply the weights by a narrow right side, which they do nearly
twice as fast as the other way round, and every norm and sum runs along whole vectors of rows.

Shapes: B batch, C capacity, h hidden, H heads, d = h / H, V vocabulary.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from fl_jax.bloom import model
from fl_jax.bloom.config import Config
from fl_jax.core import dtypes
from fl_jax.core.types import Array, Bool, Float, Int, PyTree
from fl_jax.nn import attention, position, tiles

WAYS = 16  # parts of the vocabulary that `likeliest` compares at once


class Cache(NamedTuple):
    """Keys and values of the tokens so far, one array a layer."""

    k: tuple[Float[Array, "batch heads capacity width"], ...]
    v: tuple[Float[Array, "batch heads capacity width"], ...]
    places: Int[Array, "batch capacity"]  # where each key stands for ALiBi, future ones included
    mask: Bool[Array, "batch capacity"]  # False: padding of the prompt
    used: Int[Array, ""]  # places written so far


def adopt(cache: model.Cache, config: Config) -> Cache:
    """A prompt's cache in this module's layout; what follows the prompt has no holes."""
    split = lambda a: tuple(a[i].transpose(0, 2, 1, 3) for i in range(config.layers))
    later = jnp.arange(cache.mask.shape[1], dtype=jnp.int32)[None] >= cache.used
    mask = cache.mask | later
    return Cache(split(cache.k), split(cache.v), position.positions(mask), mask, cache.used)


def grow(cache: Cache, capacity: int) -> Cache:
    """The cache with room for so many tokens; what is new follows without holes."""
    batch, held = cache.mask.shape

    def room(a):  # written into a fresh array: padding would be chosen element by element
        fresh = jnp.zeros((*a.shape[:2], capacity, a.shape[3]), a.dtype)
        return jax.lax.dynamic_update_slice(fresh, a, (0, 0, 0, 0))

    later = cache.places[:, -1:] + 1 + jnp.arange(capacity - held, dtype=jnp.int32)[None]
    return cache._replace(
        k=tuple(map(room, cache.k)),
        v=tuple(map(room, cache.v)),
        places=jnp.concatenate([cache.places, later], axis=1),
        mask=jnp.concatenate([cache.mask, jnp.ones((batch, capacity - held), bool)], axis=1),
    )


def unstack(params: PyTree, config: Config) -> list[PyTree]:
    """The layers one by one, matrices as (out, in), biases and norms as columns."""
    h = config.hidden

    def layer(i):
        one = jax.tree.map(lambda a: a[i].astype(config.dtype), params["layers"])
        matrices = {
            "qkv": one["qkv"]["kernel"].transpose(2, 1, 3, 0),  # queries, keys, values apart
            "out": one["out"]["kernel"].transpose(2, 0, 1),
            "up": one["up"]["kernel"].T,
            "down": one["down"]["kernel"].T,
        }
        biases = {name: one[name]["bias"] for name in matrices}
        biases["qkv"] = biases["qkv"].transpose(1, 0, 2)
        dense = {
            name: {"kernel": kernel.reshape(-1, kernel.size // biases[name].size)}
            | {"bias": biases[name].reshape(-1, 1)}
            for name, kernel in matrices.items()
        }
        norms = {name: _columns(one[name], h) for name in ("attention_norm", "mlp_norm")}
        return dense | norms

    return [layer(i) for i in range(config.layers)]


def step(
    params: PyTree,
    layers: list[PyTree],
    config: Config,
    tokens: Int[Array, " batch"],
    cache: Cache,
) -> tuple[Float[Array, "vocab batch"], Cache]:
    """Float32 logits of the token after these, and the cache with these in it.

    Args:
        params: as for `model.apply`; embedding and last norm are used.
        layers: from `unstack`.
        config: the model's; `alibi` must be `relative`.
        tokens: the last token of each row; the cache has a free place for it.
        cache: from `adopt` or from the step before.
    """
    h, dtype = config.hidden, jnp.dtype(config.dtype)
    table = params["embedding"]["table"].astype(dtype)
    with jax.named_scope("embedding"):
        x = _norm(table[tokens].T, _columns(params["embedding"]["norm"], h), config)
    bias = _bias(config, cache)
    ks, vs = [], []
    for weights, k, v in zip(layers, cache.k, cache.v, strict=True):
        with jax.named_scope("attention"):
            a = _norm(x, weights["attention_norm"], config)
            o, k, v = _attend(_dense(a, weights["qkv"]), k, v, bias, cache.used, config)
            x = x + _dense(o, weights["out"])
        with jax.named_scope("mlp"):
            m = _norm(x, weights["mlp_norm"], config)
            m = jax.nn.gelu(_dense(m, weights["up"]), approximate=True)
            x = x + _dense(m, weights["down"])
        ks.append(k)
        vs.append(v)
    with jax.named_scope("head"):
        x = _norm(x, _columns(params["norm"], h), config)
        logits = jnp.matmul(table, x, preferred_element_type=dtypes.wide(dtype))
    return logits, cache._replace(k=tuple(ks), v=tuple(vs), used=cache.used + 1)


def likeliest(logits: Float[Array, "vocab batch"]) -> Int[Array, " batch"]:
    """argmax over the vocabulary, the first of equals; `vocab`, which is no id, where one is NaN.

    A reduction that carries an index is computed entry by entry on a CPU. So sixteen parts of
    the vocabulary are compared with one another first, vector by vector.
    """
    vocab, batch = logits.shape
    index = jax.lax.broadcasted_iota(jnp.int32, logits.shape, 0)
    fill = [(0, -vocab % WAYS), (0, 0)]
    each = -(-vocab // WAYS)
    split = lambda a, value: jnp.pad(a, fill, constant_values=value).reshape(WAYS, each, batch)
    values, places = split(logits, -jnp.inf), split(index, vocab)
    best, at = values[0], places[0]
    for value, place in zip(values[1:], places[1:], strict=True):  # later parts: only if greater
        at = jnp.where(value > best, place, at)
        best = jnp.maximum(best, value)
    top = jnp.max(best, axis=0, keepdims=True)
    return jnp.min(jnp.where(best == top, at, vocab), axis=0)


def _columns(norm, width):
    return {name: norm[name].reshape(width, 1) for name in ("scale", "bias")}


def _norm(x, weights, config):
    """LayerNorm of every column, statistics in float32."""
    wide = x.astype(dtypes.wide(x.dtype))
    centred = wide - jnp.mean(wide, axis=0, keepdims=True)
    rstd = jax.lax.rsqrt(jnp.mean(jnp.square(centred), axis=0, keepdims=True) + config.norm_eps)
    scale, bias = (weights[name].astype(wide.dtype) for name in ("scale", "bias"))
    return (centred * rstd * scale + bias).astype(x.dtype)


def _dense(x, weights):
    kernel = weights["kernel"]
    y = tiles.product(kernel, x) if tiles.fit(x) else kernel @ x
    return y + weights["bias"]


def _bias(config, cache):
    """(batch, heads, capacity): ALiBi of every key, and what hides those that are not there."""
    at = cache.places
    own = jax.lax.dynamic_slice_in_dim(at, cache.used, 1, axis=1)
    distance = (at - own).astype(dtypes.wide(jnp.dtype(config.dtype)))[:, None]
    slopes = jnp.asarray(position.alibi_slopes(config.heads), distance.dtype)[None, :, None]
    visible = cache.mask & (jnp.arange(at.shape[1], dtype=jnp.int32)[None] <= cache.used)
    return jnp.where(visible[:, None], slopes * distance, attention.HIDDEN)


def _attend(qkv, k, v, bias, used, config):
    """Attention of one query a row over the cache, which these keys and values join."""
    batch, heads, _, width = k.shape
    qkv = qkv.T.reshape(batch, 3, heads, width)
    q, own_k, own_v = (qkv[:, i].astype(k.dtype) for i in range(3))
    start = dtypes.places(0, 0, used, 0)
    write = lambda old, new: jax.lax.dynamic_update_slice(old, new[:, :, None], start)
    k, v = write(k, own_k), write(v, own_v)
    scores = jnp.einsum("bhd,bhsd->bhs", q, k, preferred_element_type=bias.dtype)
    scores = scores * (1 / math.sqrt(width)) + bias
    shares = jax.nn.softmax(scores, axis=-1).astype(v.dtype)
    o = jnp.einsum("bhs,bhsd->bhd", shares, v).astype(qkv.dtype)
    return o.reshape(batch, config.hidden).T, k, v
