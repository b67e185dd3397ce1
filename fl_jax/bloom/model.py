"""BLOOM's forward pass [Le Scao et al. 2022, section 3.2]: a decoder with ALiBi, readable whole.

Shapes: B batch, T tokens, h hidden, H heads, d = h / H, L layers, V vocabulary. Layers stand on
a leading axis of every array under `params["layers"]` and are scanned.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from fl_jax.bloom import sharding
from fl_jax.bloom.config import Config
from fl_jax.core import dtypes, errors, rng, tree
from fl_jax.core.types import Array, Bool, Float, Int, Key, PyTree
from fl_jax.nn import attention, chunked_loss, dense, gelu, norms, position, tiles
from fl_jax.nn.tokens import check_mask, check_tokens

INIT_STD = 0.0048  # of every published size: sqrt(1 / (3 h)) at h = 14336


class Cache(NamedTuple):
    """Keys and values of the tokens so far, for decoding."""

    k: Float[Array, "layers batch capacity heads width"]
    v: Float[Array, "layers batch capacity heads width"]
    mask: Bool[Array, "batch capacity"]  # which places hold a real token
    used: Int[Array, ""] | int  # places written so far; 0 of an empty one is known when compiling


def shapes(config: Config) -> PyTree:
    """The parameters as a tree of shapes."""
    h, heads, d = config.hidden, config.heads, config.head_dim
    norm = {"scale": (h,), "bias": (h,)}
    layer = {
        "attention_norm": norm,
        "qkv": {"kernel": (h, heads, 3, d), "bias": (heads, 3, d)},
        "out": {"kernel": (heads, d, h), "bias": (h,)},
        "mlp_norm": norm,
        "up": {"kernel": (h, 4 * h), "bias": (4 * h,)},
        "down": {"kernel": (4 * h, h), "bias": (h,)},
    }
    stack = lambda shape: (config.layers, *shape)
    return {
        "embedding": {"table": (config.vocab, h), "norm": norm},
        "layers": jax.tree.map(stack, layer, is_leaf=lambda x: isinstance(x, tuple)),
        "norm": norm,
    }


def abstract(config: Config, dtype=jnp.float32) -> PyTree:
    """The parameters as `jax.ShapeDtypeStruct`: nothing is allocated."""
    is_shape = lambda x: isinstance(x, tuple)
    make = lambda shape: jax.ShapeDtypeStruct(shape, jnp.dtype(dtype))
    return jax.tree.map(make, shapes(config), is_leaf=is_shape)


@functools.partial(jax.jit, static_argnames=("config", "std", "dtype"))
def init(key: Key[Array, ""], config: Config, std: float = INIT_STD, dtype=jnp.float32) -> PyTree:
    """Parameters as the published runs started: normal matrices, zero biases, unit norms.

    Matrices and embedding have standard deviation `std`, the two that write to the residual
    stream std / sqrt(2 L) [Megatron-DeepSpeed, gpt_model.py]. The runs used 0.0048 at every
    size; sqrt(1 / (3 h)) is the rule it came from.
    """

    def leaf(name, like):
        if name.endswith("scale"):
            return jnp.ones(like.shape, like.dtype)
        if name.endswith("bias"):
            return jnp.zeros(like.shape, like.dtype)
        small = "/out/" in name or "/down/" in name
        sigma = std / math.sqrt(2 * config.layers) if small else std
        return jnp.asarray(sigma, like.dtype) * jax.random.normal(
            rng.fold(key, name), like.shape, like.dtype
        )

    return tree.map_named(leaf, abstract(config, dtype))


def apply(
    params: PyTree,
    config: Config,
    tokens: Int[Array, "batch time"],
    mask: Bool[Array, "batch time"] | Int[Array, "batch time"] | None = None,
) -> Float[Array, "batch time vocab"]:
    """Logits of the next token, float32.

    Args:
        params: as from `init` or `load_hf`; cast to `config.dtype` for use.
        config: the model's.
        tokens: ids in 0..vocab - 1.
        mask: 1 or True for real tokens; padding may be on the left, on the right or inside.

    Raises:
        DataError: a mask of another shape, or tokens that are no ids of the vocabulary (checked
            where they are concrete).
        ConfigError: parameters of another size than the config's.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from fl_jax import bloom
        >>> config = bloom.Config(vocab=32, hidden=24, layers=2, heads=6)
        >>> params = bloom.init(jax.random.key(0), config)
        >>> bloom.apply(params, config, jnp.array([[5, 9, 2]])).shape
        (1, 3, 32)
    """
    check_tokens(tokens, config.vocab)
    check_mask(mask, tokens)
    return _apply(params, config, tokens, mask)


@functools.partial(jax.jit, static_argnames="config")
def _apply(params, config, tokens, mask):
    x, _ = hidden(params, config, tokens, mask)
    return logits(params, config, x)


def hidden(
    params: PyTree,
    config: Config,
    tokens: Int[Array, "batch time"],
    mask: Bool[Array, "batch time"] | Int[Array, "batch time"] | None = None,
    *,
    segments: Int[Array, "batch time"] | None = None,
    cache: Cache | None = None,
    key: Key[Array, ""] | None = None,
    adapters: PyTree | None = None,
) -> tuple[Float[Array, "batch time hidden"], Cache | None]:
    """The normalised last hidden states, before the output matrix.

    Args:
        params, config, tokens, mask: as for `apply`; with a cache, the mask is of these tokens.
        segments: ids of packed documents, which do not see each other.
        cache: from `empty_cache` or from the call before; these tokens come after it.
        key: turns dropout on.
        adapters: low-rank updates of the layers' matrices, from `fl_jax.bloom.lora`.

    Returns:
        (states, the cache with these tokens in it, or None).

    Raises:
        ConfigError: a cache that is too small, or parameters of another size.
    """
    check_shape(params, config)
    dtype = jnp.dtype(config.dtype)
    mask = None if mask is None else mask.astype(bool)
    context = Context(config, mask, segments, key)
    if cache is not None:
        context, cache = _with_cache(context, cache, tokens)
    params = jax.tree.map(lambda a: a.astype(dtype), params)
    embedding = params["embedding"]
    with jax.named_scope("embedding"):
        x = _embed(embedding["table"], tokens)
        x = _norm(x, embedding["norm"], config)
    x = sharding.constrain(_dropout(x, config.dropout, key, "embedding"), *sharding.ACTIVATIONS)

    def body(carry, inputs):
        return _layer(context, *carry, *inputs), None

    if config.remat != "none":
        policies = jax.checkpoint_policies
        keep = {"full": None, "dots": policies.dots_with_no_batch_dims_saveable}
        body = jax.checkpoint(body, policy=keep[config.remat], prevent_cse=not config.scan)
    layers, count = params["layers"], config.layers
    beside = jnp.arange(count, dtype=jnp.int32), adapters
    # The cache travels with x and is written in place; scanned over, it would be copied whole.
    carry = x, None if cache is None else (cache.k, cache.v)
    if config.scan:
        carry, _ = jax.lax.scan(body, carry, (beside[0], layers, adapters))
    else:
        if not isinstance(layers, list):
            layers = unstack(layers, count)
        for (index, adapter), layer in zip(unstack(beside, count), layers, strict=True):
            carry, _ = body(carry, (index, layer, adapter))
    x, kv = carry
    if cache is not None:
        cache = cache._replace(k=kv[0], v=kv[1])
    return _norm(x, params["norm"], config), cache


def logits(
    params: PyTree, config: Config, x: Float[Array, "batch time hidden"]
) -> Float[Array, "batch time vocab"]:
    """x E^T in float32: the output matrix is the embedding, without bias."""
    table = params["embedding"]["table"].astype(config.dtype)
    wide = dtypes.wide(x.dtype)
    return jnp.einsum("bth,vh->btv", x, table, preferred_element_type=wide)


def check_shape(params: PyTree, config: Config) -> None:
    """Refuses parameters of another model than the config's, layers stacked or one by one.

    Raises:
        ConfigError: another vocabulary (whose ids would be clamped in silence), width, depth or
            number of heads.
    """
    layers, (vocab, hidden) = params["layers"], params["embedding"]["table"].shape
    bias = (layers[0] if isinstance(layers, list) else layers)["qkv"]["bias"]
    depth = len(layers) if isinstance(layers, list) else len(bias)
    found = {"vocab": vocab, "hidden": hidden, "layers": depth, "heads": bias.shape[-3]}
    for name, size in found.items():
        if size != getattr(config, name):
            raise errors.ConfigError(
                f"the parameters have {name}={size} and the config {name}={getattr(config, name)};"
                " give the config that the parameters were made or loaded with."
            )


def unstack(tree: PyTree, count: int) -> list[PyTree]:
    """So many layers, which stand on a leading axis, one by one; an unrolled model's
    `params["layers"]` may be such a list. The derivative of a split is one concatenation."""
    leaves, structure = jax.tree.flatten(tree)
    parts = [[jnp.squeeze(p, 0) for p in jnp.split(leaf, count)] for leaf in leaves]
    return [jax.tree.unflatten(structure, [part[i] for part in parts]) for i in range(count)]


def empty_cache(config: Config, batch: int, capacity: int) -> Cache:
    """Room for so many tokens of each sequence, padding included.

    Of a bfloat16 model it is float32 on a CPU, where XLA would turn the whole of it to float32 and
    back wherever one token is written.
    """
    shape = (config.layers, batch, capacity, config.heads, config.head_dim)
    zeros = jnp.zeros(shape, config.dtype)
    zeros = zeros.astype(dtypes.wide(zeros.dtype)) if tiles.fit(zeros) else zeros
    return Cache(zeros, zeros, jnp.zeros((batch, capacity), bool), 0)


class Context(NamedTuple):
    """What is the same for all layers."""

    config: Config
    mask: Bool[Array, "batch keys"] | None
    segments: Int[Array, "batch time"] | None
    key: Key[Array, ""] | None
    offset: Int[Array, ""] | int | None = None  # of the first token in the cache

    @property
    def alone(self) -> bool:
        """Whether these tokens see each other alone: no cache, or one that is known empty."""
        return self.offset is None or (isinstance(self.offset, int) and self.offset == 0)


def _with_cache(context, cache, tokens):
    """The context of tokens that are written after what the cache holds."""
    batch, time = tokens.shape
    capacity = cache.k.shape[2]
    filled = None if isinstance(cache.used, jax.core.Tracer) else int(cache.used)
    if time > capacity or (filled is not None and filled + time > capacity):
        raise errors.ConfigError(
            f"a cache of {capacity} tokens cannot take {time} after {filled or 0}; make it with"
            " a larger capacity."
        )
    new = jnp.ones((batch, time), bool) if context.mask is None else context.mask
    mask = jax.lax.dynamic_update_slice(cache.mask, new, dtypes.places(0, cache.used))
    context = context._replace(offset=cache.used)
    if not context.alone:
        context = context._replace(mask=mask)
    return context, cache._replace(mask=mask, used=jnp.asarray(cache.used + time, jnp.int32))


def _embed(table, tokens):
    """Rows of the table. On a mesh its columns are gathered first and the result is laid out at
    once: otherwise the compiler carries the columns' layout into the activations. Within a cohort
    its rows are gathered as well, since the compiler aborts there on looking up in split ones."""
    table = sharding.constrain(table, None if chunked_loss.within_cohort() else "vocab", None)
    return sharding.constrain(table[tokens], *sharding.ACTIVATIONS)


def _layer(context, x, kv, index, weights, adapters):
    """One block: attention and MLP, each on a normalised copy, added to the stream."""
    config = context.config
    key = None if context.key is None else rng.fold(context.key, index)
    x = sharding.constrain(x, *sharding.ACTIVATIONS)
    with jax.named_scope("attention"):
        a = _norm(x, weights["attention_norm"], config)
        o, kv = _attend(context, a, kv, index, weights, adapters, key)
        x = x + _dropout(o, config.dropout, key, "attention")
    with jax.named_scope("mlp"):
        m = _norm(x, weights["mlp_norm"], config)
        m = gelu.gelu(_matmul(m, weights, adapters, "up"))
        m = _matmul(m, weights, adapters, "down")
        return x + _dropout(m, config.dropout, key, "mlp"), kv


def _attend(context, a, kv, index, weights, adapters, key):
    """Attention over these tokens and what the cache holds; with the layer's part of the cache."""
    config = context.config
    qkv = _matmul(a, weights, adapters, "qkv")
    q, k, v = qkv[:, :, :, 0], qkv[:, :, :, 1], qkv[:, :, :, 2]
    if kv is not None:
        start = dtypes.places(index, 0, context.offset, 0, 0)
        write = lambda old, new: jax.lax.dynamic_update_slice(
            old, new[None].astype(old.dtype), start
        )
        kv = write(kv[0], k), write(kv[1], v)
    if not context.alone:
        own = lambda old: jax.lax.dynamic_index_in_dim(old, index, keepdims=False)
        k, v = (own(old).astype(q.dtype) for old in kv)
    o = attention.attention(
        q,
        k,
        v,
        slopes=position.alibi_slopes(config.heads),
        mask=context.mask,
        segments=context.segments,
        offset=context.offset,
        implementation=config.attention,
        alibi=config.alibi,
        dropout=config.attention_dropout,
        key=None if key is None else rng.fold(key, "weights"),
    )
    return _matmul(o, weights, adapters, "out"), kv


def _norm(x, weights, config):
    return norms.layer_norm(x, weights["scale"], weights["bias"], config.norm_eps)


def _matmul(x, weights, adapters, name):
    """x W + b, plus the low-rank update of W where there is one."""
    kernel, bias = weights[name]["kernel"], weights[name]["bias"]
    inputs = kernel.ndim - bias.ndim
    y = dense.dense(x, kernel, inputs)
    if adapters is not None and name in adapters:
        a, b = (adapters[name][part].astype(x.dtype) for part in ("a", "b"))
        y = y + dense.dense(dense.dense(x, a, inputs), b, 1)
    return dense.bias(y, bias)


def _dropout(x, rate, key, name):
    if not rate or key is None:
        return x
    kept = jax.random.bernoulli(rng.fold(key, name), 1 - rate, x.shape)
    return jnp.where(kept, x / jnp.asarray(1 - rate, x.dtype), jnp.zeros_like(x))
