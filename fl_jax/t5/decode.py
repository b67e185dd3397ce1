"""Generation: cached, greedy and by beams, as transformers does them."""

import functools

import jax
import jax.numpy as jnp

from fl_jax.core import dtypes, errors
from fl_jax.core.types import Array, Bool, Float, Int, PyTree
from fl_jax.nn import beams
from fl_jax.nn.tokens import check_mask, check_tokens
from fl_jax.t5 import model
from fl_jax.t5.config import Config


def greedy(
    params: PyTree,
    config: Config,
    tokens: Int[Array, "batch time"],
    mask: Bool[Array, "batch time"] | None = None,
    *,
    count: int,
) -> Int[Array, "batch count"]:
    """The likeliest next token, `count` times; after the end mark, pad.

    Raises:
        DataError: a mask of another shape, or tokens that are no ids of the vocabulary (checked
            where they are concrete).
        ConfigError: a count below 1.
    """
    _check(tokens, mask, config, count=count)
    return _greedy(params, config, tokens, mask, count)


@functools.partial(jax.jit, static_argnames=("config", "count"))
def _greedy(params, config, tokens, mask, count):
    memory = _memory(params, config, tokens, mask)
    batch = tokens.shape[0]
    cache = model.empty_cache(config, batch, count)
    first = jnp.full(batch, config.pad, jnp.int32)

    def step(carry, _):
        token, done, cache = carry
        scores, cache = _next(params, config, token, memory, cache)
        token = jnp.argmax(scores, axis=-1).astype(jnp.int32)
        token = jnp.where(done, config.pad, token)
        return (token, done | (token == config.eos), cache), token

    start = first, jnp.zeros(batch, bool), cache
    _, out = jax.lax.scan(step, start, length=count)
    return out.T


def beam(
    params: PyTree,
    config: Config,
    tokens: Int[Array, "batch time"],
    mask: Bool[Array, "batch time"] | None = None,
    *,
    count: int,
    search: beams.Search = beams.Search(beams=10),
) -> tuple[Int[Array, "batch beams count"], Float[Array, "batch beams"]]:
    """The best finished sequences of a beam search, and their scores.

    What has not ended after `count` tokens is finished as it is. Where there are fewer sequences
    than beams, what is left over is pad and scores -inf.

    Returns:
        (token ids filled with pad, scores), best first; -1 and NaN where the model's scores are
        NaN.

    Raises:
        DataError, ConfigError: as `greedy`.
    """
    _check(tokens, mask, config, count=count)
    return _beam(params, config, tokens, mask, count, search)


def _check(tokens, mask, config, **sizes: int) -> None:
    check_tokens(tokens, config.vocab)
    check_mask(mask, tokens)
    for name, size in sizes.items():
        errors.whole(name, size, 1)


@functools.partial(jax.jit, static_argnames=("config", "count", "search"))
def _beam(params, config, tokens, mask, count, search):
    batch, width = len(tokens), search.beams
    memory = _memory(params, config, tokens, mask)
    each = lambda a: jnp.repeat(a, width, axis=1)
    memory = model.Memory(each(memory.k), each(memory.v), jnp.repeat(memory.mask, width, axis=0))
    cache = model.empty_cache(config, batch * width, count)

    def step(carry):
        i, token, state, cache = carry
        scores, cache = _next(params, config, token.reshape(-1), memory, cache)
        logs = jax.nn.log_softmax(scores, axis=-1).reshape(batch, width, -1)
        ends = (jnp.arange(config.vocab) == config.eos)[None, None]
        state, parent, token = beams.extend(search, state, logs, i, ends)
        rows = beams.rows(parent)
        return i + 1, token, state, cache._replace(k=cache.k[:, rows], v=cache.v[:, rows])

    state = beams.start(search, batch, count, config.pad, dtypes.wide(config.dtype))
    token = jnp.full((batch, width), config.pad, jnp.int32)
    unfinished = lambda carry: (carry[0] < count) & jnp.any(carry[2].open)
    carry = jax.lax.while_loop(unfinished, step, (jnp.int32(0), token, state, cache))
    return beams.found(carry[2], config.pad)


def _memory(params, config, tokens, mask):
    states = model.encode(params, config, model.embed(params, config, tokens), mask)
    return model.remember(params, config, states, mask)


def _next(params, config, token, memory, cache):
    """Scores (rows, vocab) of the token after this one."""
    x = model.embed(params, config, token[:, None])
    x, cache = model.decode(params, config, x, memory, cache=cache)
    return model.logits(params, config, x)[:, 0], cache
