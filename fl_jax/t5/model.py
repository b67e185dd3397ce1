"""T5's forward pass [Raffel et al. 2020, section 2.1], readable whole.

Shapes: B batch, T encoder tokens, U decoder tokens, d width, H heads, k head width, F hidden,
L layers, V vocabulary. Layers stand on a leading axis under `params[stack]["layers"]` and are
scanned. Norms come before each sublayer and have no mean and no bias; no matrix has a bias;
positions are a bias on the scores, one table for each stack.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fl_jax.core import dtypes, errors, rng
from fl_jax.core.types import Array, Bool, Float, Int, Key, PyTree
from fl_jax.nn import dense, gelu, norms
from fl_jax.nn.tokens import check_mask, check_tokens
from fl_jax.t5 import attention as attentions
from fl_jax.t5 import position
from fl_jax.t5.config import Config

UNROLLED = 8  # layers up to which a stack is unrolled: a tenth faster, and still quick to compile


class Memory(NamedTuple):
    """What the decoder reads of the encoder: keys and values of every decoder layer."""

    k: Float[Array, "layers batch keys heads width"]
    v: Float[Array, "layers batch keys heads width"]
    mask: Bool[Array, "batch keys"]


class Cache(NamedTuple):
    """Keys and values of the decoder tokens so far."""

    k: Float[Array, "layers batch capacity heads width"]
    v: Float[Array, "layers batch capacity heads width"]
    used: Int[Array, ""]


def shapes(config: Config) -> PyTree:
    """The parameters as a tree of shapes."""
    d, heads, k, hidden = config.width, config.heads, config.head_width, config.hidden
    inward = (d, heads, k)
    attention = {"norm": (d,), "q": inward, "k": inward, "v": inward, "o": (heads, k, d)}
    up = {"wi": (d, hidden)}
    if config.mlp == "gated-gelu":
        up = {"wi_0": (d, hidden), "wi_1": (d, hidden)}
    mlp = {"norm": (d,), **up, "wo": (hidden, d)}

    def stack(layer, count):
        layers = jax.tree.map(lambda s: (count, *s), layer, is_leaf=_is_shape)
        return {"layers": layers, "bias": (config.buckets, heads), "norm": (d,)}

    tree = {
        "shared": (config.vocab, d),
        "encoder": stack({"attention": attention, "mlp": mlp}, config.encoder_layers),
        "decoder": stack(
            {"attention": attention, "cross": attention, "mlp": mlp}, config.decoder_layers
        ),
    }
    if not config.tied:
        tree["head"] = (config.vocab, d)
    return tree


def abstract(config: Config, dtype=jnp.float32) -> PyTree:
    """The parameters as `jax.ShapeDtypeStruct`: nothing is allocated."""
    make = lambda shape: jax.ShapeDtypeStruct(shape, jnp.dtype(dtype))
    return jax.tree.map(make, shapes(config), is_leaf=_is_shape)


def init(key: Key[Array, ""], config: Config, dtype=jnp.float32) -> PyTree:
    """Parameters as the published models started: normal matrices, unit norms.

    Standard deviations [mesh-tensorflow's, as transformers has them]: embedding and head 1,
    q (d k)^-1/2, k, v, wi and position bias d^-1/2, o (H k)^-1/2, wo F^-1/2.
    """
    d, k = config.width, config.head_width
    sigma = {
        "shared": 1.0,
        "head": 1.0,
        "q": (d * k) ** -0.5,
        "o": (config.heads * k) ** -0.5,
        "wo": config.hidden**-0.5,
    }

    def leaf(path, like):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        last = name.rpartition("/")[2]
        if last == "norm":
            return jnp.ones(like.shape, like.dtype)
        std = jnp.asarray(sigma.get(last, d**-0.5), like.dtype)
        return std * jax.random.normal(rng.fold(key, name), like.shape, like.dtype)

    return jax.tree_util.tree_map_with_path(leaf, abstract(config, dtype))


def apply(
    params: PyTree,
    config: Config,
    tokens: Int[Array, "batch time"],
    decoder_tokens: Int[Array, "batch steps"],
    mask: Bool[Array, "batch time"] | Int[Array, "batch time"] | None = None,
    *,
    key: Key[Array, ""] | None = None,
) -> Float[Array, "batch steps vocab"]:
    """Logits of the next decoder token, float32.

    Args:
        params: as from `init` or `load_hf`; cast to `config.dtype` for use.
        config: the model's.
        tokens: ids for the encoder.
        decoder_tokens: ids for the decoder, beginning with `config.pad` (`shift_right`).
        mask: 1 or True for real encoder tokens.
        key: turns dropout on.

    Raises:
        DataError: tokens that are no ids of the vocabulary (checked where they are concrete).

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from fl_jax import t5
        >>> config = t5.Config(vocab=64, width=16, head_width=8, hidden=32, heads=2, buckets=8)
        >>> params = t5.init(jax.random.key(0), config)
        >>> t5.apply(params, config, jnp.array([[5, 9, 1]]), jnp.array([[0, 7]])).shape
        (1, 2, 64)
    """
    return logits(params, config, read(params, config, tokens, decoder_tokens, mask, key=key))


def read(
    params: PyTree,
    config: Config,
    tokens: Int[Array, "batch time"],
    decoder_tokens: Int[Array, "batch steps"],
    mask: Bool[Array, "batch time"] | Int[Array, "batch time"] | None = None,
    *,
    key: Key[Array, ""] | None = None,
) -> Float[Array, "batch steps width"]:
    """The decoder's normalised last states, which `logits` turns into scores; as for `apply`."""
    check_tokens(tokens, config.vocab)
    check_tokens(decoder_tokens, config.vocab)
    check_mask(mask, tokens)
    states = encode(params, config, embed(params, config, tokens), mask, key=key)
    memory = remember(params, config, states, mask)
    return decode(params, config, embed(params, config, decoder_tokens), memory, key=key)[0]


def embed(
    params: PyTree, config: Config, tokens: Int[Array, "*batch"]
) -> Float[Array, "*batch width"]:
    """Rows of the shared table."""
    return params["shared"].astype(config.dtype)[tokens]


def shift_right(tokens: Int[Array, "batch steps"], config: Config) -> Int[Array, "batch steps"]:
    """What the decoder is given when it is to produce these tokens: they, one later."""
    start = jnp.full((tokens.shape[0], 1), config.pad, tokens.dtype)
    kept = jnp.where(tokens < 0, jnp.asarray(config.pad, tokens.dtype), tokens)
    return jnp.concatenate([start, kept[:, :-1]], axis=1)


def encode(
    params: PyTree,
    config: Config,
    x: Float[Array, "batch time width"],
    mask: Bool[Array, "batch time"] | Int[Array, "batch time"] | None = None,
    *,
    extra: int = 0,
    key: Key[Array, ""] | None = None,
) -> Float[Array, "batch time width"]:
    """The encoder's normalised last states.

    Args:
        params, config: the model's.
        x: embeddings, from `embed` or of the caller's own making.
        mask: which places are real.
        extra: so many places at the end have no position: the bias does not touch them.
        key: turns dropout on.
    """
    weights = _cast(params["encoder"], config)
    length = x.shape[1] - extra
    bias = _bias(weights["bias"], config, np.arange(length), np.arange(length), True)
    if extra:
        bias = jnp.pad(bias, [(0, 0), (0, 0), (0, extra), (0, extra)])
    seen = None if mask is None else mask.astype(bool)[:, None, None, :]
    x = _dropout(x.astype(config.dtype), config, key, "encoder")

    def body(x, inputs):
        index, layer = inputs
        own = None if key is None else rng.fold(key, "encoder", index)
        a, kv = _project(layer["attention"], x, config)
        o = attentions.attention(
            a, *kv, bias=bias, mask=seen, dropout=config.dropout, key=_sub(own, "weights")
        )
        x = _join(x, layer["attention"], o, config, own, "attention")
        return _mlp(layer["mlp"], x, config, own), None

    stacked = jnp.arange(config.encoder_layers), weights["layers"]
    x, _ = jax.lax.scan(body, x, stacked, unroll=config.encoder_layers <= UNROLLED)
    x = norms.rms_norm(x, weights["norm"], config.norm_eps)
    return _dropout(x, config, key, "encoder out")


def remember(
    params: PyTree,
    config: Config,
    states: Float[Array, "batch time width"],
    mask: Bool[Array, "batch time"] | Int[Array, "batch time"] | None = None,
) -> Memory:
    """The encoder's states as keys and values of every decoder layer's cross-attention."""
    cross = _cast(params["decoder"]["layers"]["cross"], config)
    every = lambda kernel: jnp.moveaxis(dense.dense(states, jnp.moveaxis(kernel, 0, 1)), 2, 0)
    k, v = every(cross["k"]), every(cross["v"])
    mask = jnp.ones(states.shape[:2], bool) if mask is None else mask.astype(bool)
    return Memory(k, v, mask)


def decode(
    params: PyTree,
    config: Config,
    x: Float[Array, "batch steps width"],
    memory: Memory,
    *,
    cache: Cache | None = None,
    key: Key[Array, ""] | None = None,
) -> tuple[Float[Array, "batch steps width"], Cache | None]:
    """The decoder's normalised last states, and the cache with these steps in it.

    Without a cache, steps see themselves and those before them; with one, also what it holds.
    Under a `jit` nobody can see how full a cache is: steps beyond its capacity overwrite the last
    ones, and what comes out is finite and wrong. Make it for as many steps as are taken.

    Raises:
        ConfigError: more steps than the cache has room for (checked where that is concrete).
    """
    weights = _cast(params["decoder"], config)
    steps = x.shape[1]
    if cache is None:
        at = np.arange(steps)
        bias = _bias(weights["bias"], config, at, at, False)
        seen = jnp.asarray(at[None, :] <= at[:, None])[None, None]
    else:
        bias, seen = _cached_bias(weights["bias"], config, cache, steps)
    x = _dropout(x.astype(config.dtype), config, key, "decoder")

    def body(carry, inputs):
        x, kv = carry
        index, layer, memory_k, memory_v = inputs
        own = None if key is None else rng.fold(key, "decoder", index)
        q, (k, v) = _project(layer["attention"], x, config)
        if kv is not None:
            start = dtypes.places(index, 0, cache.used, 0, 0)
            kv = tuple(
                jax.lax.dynamic_update_slice(old, new[None], start)
                for old, new in zip(kv, (k, v), strict=True)
            )
            k, v = (jax.lax.dynamic_index_in_dim(a, index, keepdims=False) for a in kv)
        o = attentions.attention(
            q, k, v, bias=bias, mask=seen, dropout=config.dropout, key=_sub(own, "weights")
        )
        x = _join(x, layer["attention"], o, config, own, "attention")
        x = _cross(layer["cross"], x, memory_k, memory_v, memory.mask, config, own)
        return (_mlp(layer["mlp"], x, config, own), kv), None

    carry = x, None if cache is None else (cache.k, cache.v)
    stacked = (
        jnp.arange(config.decoder_layers, dtype=jnp.int32),
        weights["layers"],
        memory.k,
        memory.v,
    )
    (x, kv), _ = jax.lax.scan(body, carry, stacked, unroll=config.decoder_layers <= UNROLLED)
    x = norms.rms_norm(x, weights["norm"], config.norm_eps)
    if cache is not None:
        cache = Cache(*kv, cache.used + steps)
    return _dropout(x, config, key, "decoder out"), cache


def branch(
    params: PyTree,
    config: Config,
    x: Float[Array, "batch nodes width"],
    memory: Memory,
    ancestors: tuple[Array, Array] | None,
) -> tuple[Float[Array, "batch nodes width"], tuple[Array, Array]]:
    """One decoding step of many branches of each row at once: the nodes of a tree at one depth.

    Args:
        x: embeddings of the nodes' tokens.
        memory: of the rows; all nodes of a row read the same.
        ancestors: keys and values (layers, batch, nodes, depth, heads, width) of the tokens
            that lead to each node, without its own; None at the root.

    Returns:
        (normalised last states, keys and values with each node's own at the end).
    """
    weights = _cast(params["decoder"], config)
    depth = 0 if ancestors is None else ancestors[0].shape[3]
    bias = _bias(weights["bias"], config, np.array([depth]), np.arange(depth + 1), False)[0, :, 0]
    x = x.astype(config.dtype)

    def body(x, inputs):
        layer, memory_k, memory_v, before = inputs
        q, new = _project(layer["attention"], x, config)
        kv = tuple(a[:, :, None] for a in new)
        if before is not None:
            kv = tuple(jnp.concatenate(pair, axis=2) for pair in zip(before, kv, strict=True))
        o = attentions.own_keys(q, *kv, bias=bias)
        x = _join(x, layer["attention"], o, config, None, "attention")
        x = _cross(layer["cross"], x, memory_k, memory_v, memory.mask, config, None)
        return _mlp(layer["mlp"], x, config, None), kv

    x, kv = jax.lax.scan(body, x, (weights["layers"], memory.k, memory.v, ancestors))
    return norms.rms_norm(x, weights["norm"], config.norm_eps), kv


def logits(
    params: PyTree, config: Config, x: Float[Array, "*batch width"]
) -> Float[Array, "*batch vocab"]:
    """Scores of the vocabulary, in float32."""
    wide = dtypes.wide(config.dtype)
    x, table = scale(x, config), head(params, config)
    return jnp.einsum("...d,vd->...v", x, table, preferred_element_type=wide)


def head(params: PyTree, config: Config) -> Float[Array, "vocab width"]:
    """The output matrix, which a tied model shares with the embedding."""
    return (params["shared"] if config.tied else params["head"]).astype(config.dtype)


def scale(x: Float[Array, "*batch width"], config: Config) -> Float[Array, "*batch width"]:
    """States as they enter the head: a tied head takes them at width^-1/2."""
    return x * jnp.asarray(config.width**-0.5, x.dtype) if config.tied else x


def empty_cache(config: Config, batch: int, capacity: int) -> Cache:
    """Room for so many decoder tokens of each row."""
    shape = (config.decoder_layers, batch, capacity, config.heads, config.head_width)
    zeros = jnp.zeros(shape, config.dtype)
    return Cache(zeros, zeros, jnp.zeros((), jnp.int32))


def _is_shape(x) -> bool:
    return isinstance(x, tuple)


def _cast(tree, config):
    return jax.tree.map(lambda a: a.astype(config.dtype), tree)


def _bias(table, config, queries, keys, bidirectional):
    """(1, heads, queries, keys) from the stack's table."""
    places = position.buckets(
        keys[None, :] - queries[:, None],
        bidirectional=bidirectional,
        count=config.buckets,
        max_distance=config.max_distance,
    )
    # A product with one-hot rows: its derivative is a product too, where a gather's scatters.
    rows = np.eye(config.buckets, dtype=np.float32)[places]
    return jnp.einsum("qkn,nh->hqk", jnp.asarray(rows, table.dtype), table)[None]


def _cached_bias(table, config, cache, steps):
    """Bias and mask of steps that come after what the cache holds."""
    capacity = cache.k.shape[2]
    filled = 0 if isinstance(cache.used, jax.core.Tracer) else int(cache.used)
    if filled + steps > capacity:
        raise errors.ConfigError(
            f"a cache of {capacity} tokens cannot take {steps} after {filled}; make it with a"
            " larger capacity."
        )
    at = np.arange(capacity)
    whole = _bias(table, config, at, at, False)
    bias = jax.lax.dynamic_slice_in_dim(whole, cache.used, steps, axis=2)
    queries = cache.used + jnp.arange(steps, dtype=jnp.int32)
    return bias, (jnp.asarray(at, jnp.int32)[None, :] <= queries[:, None])[None, None]


def _project(layer, x, config):
    """(queries, (keys, values)) of the normalised stream."""
    x = norms.rms_norm(x, layer["norm"], config.norm_eps)
    batch, time, width = x.shape
    # One plain product for the three: faster than three on a CPU.
    joined = jnp.concatenate([layer[name].reshape(width, -1) for name in "qkv"], axis=1)
    y = dense.dense(x, joined).reshape(batch, time, 3, *layer["q"].shape[1:])
    return y[:, :, 0], (y[:, :, 1], y[:, :, 2])


def _join(x, layer, o, config, key, name):
    """The stream with an attention's output added."""
    return x + _dropout(dense.dense(o, layer["o"], 2), config, key, name)


def _cross(layer, x, k, v, mask, config, key):
    normal = norms.rms_norm(x, layer["norm"], config.norm_eps)
    q = dense.dense(normal, layer["q"])
    o = attentions.attention(
        q, k, v, mask=mask[:, None, None, :], dropout=config.dropout, key=_sub(key, "cross weights")
    )
    return _join(x, layer, o, config, key, "cross")


def _mlp(layer, x, config, key):
    m = norms.rms_norm(x, layer["norm"], config.norm_eps)
    if config.mlp == "relu":
        m = jax.nn.relu(dense.dense(m, layer["wi"]))
    else:
        gate = gelu.gelu(dense.dense(m, layer["wi_0"]))
        m = gate * dense.dense(m, layer["wi_1"])
    m = dense.dense(_dropout(m, config, key, "mlp inner"), layer["wo"])
    return x + _dropout(m, config, key, "mlp")


def _dropout(x, config, key, name):
    if not config.dropout or key is None:
        return x
    kept = jax.random.bernoulli(rng.fold(key, name), 1 - config.dropout, x.shape)
    return jnp.where(kept, x / jnp.asarray(1 - config.dropout, x.dtype), jnp.zeros_like(x))


def _sub(key, name):
    return None if key is None else rng.fold(key, name)
