"""Generation: cached, greedy and by beams, as transformers does them."""

import functools

import jax
import jax.numpy as jnp

from fl_jax.core import dtypes, errors
from fl_jax.core.types import Array, Bool, Float, Int, PyTree
from fl_jax.nn.tokens import check_mask, check_tokens
from fl_jax.t5 import model
from fl_jax.t5.config import Config

NEVER = -jnp.inf  # the score of a beam that does not exist


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
    beams: int = 10,
    length_penalty: float = 1.0,
) -> tuple[Int[Array, "batch beams count"], Float[Array, "batch beams"]]:
    """The best finished sequences of a beam search, and their scores.

    A finished sequence scores log p / length^length_penalty, its length counting the start
    token and not the end mark; of the 2 x beams best continuations, those that end are finished
    if they are among the first `beams`, and the first `beams` others go on. What has not ended
    after `count` tokens is finished as it is. Where there are fewer sequences than beams, what is
    left over is pad and scores -inf.

    Returns:
        (token ids filled with pad, scores), best first.

    Raises:
        DataError, ConfigError: as `greedy`, or beams below 1.
    """
    _check(tokens, mask, config, count=count, beams=beams)
    return _beam(params, config, tokens, mask, count, beams, length_penalty)


def _check(tokens, mask, config, **sizes: int) -> None:
    check_tokens(tokens, config.vocab)
    check_mask(mask, tokens)
    for name, size in sizes.items():
        errors.whole(name, size, 1)


@functools.partial(jax.jit, static_argnames=("config", "count", "beams", "length_penalty"))
def _beam(params, config, tokens, mask, count, beams, length_penalty):
    batch = tokens.shape[0]
    memory = _memory(params, config, tokens, mask)
    each = lambda a: jnp.repeat(a, beams, axis=1)
    memory = model.Memory(each(memory.k), each(memory.v), jnp.repeat(memory.mask, beams, axis=0))
    cache = model.empty_cache(config, batch * beams, count)
    wide = dtypes.wide(config.dtype)  # of the scores
    live = jnp.where(jnp.arange(beams) == 0, 0.0, NEVER).astype(wide)
    live = jnp.broadcast_to(live[None], (batch, beams))
    fill = jnp.full((batch, beams, count), config.pad, jnp.int32)
    best = jnp.full((batch, beams), NEVER, wide)
    token = jnp.full((batch, beams), config.pad, jnp.int32)

    def step(carry, i):
        token, live, sequences, cache, done, best = carry
        scores, cache = _next(params, config, token.reshape(-1), memory, cache)
        logs = jax.nn.log_softmax(scores, axis=-1).reshape(batch, beams, -1)
        vocab = logs.shape[-1]
        total, place = jax.lax.top_k((live[:, :, None] + logs).reshape(batch, -1), 2 * beams)
        parent, new = place // vocab, (place % vocab).astype(jnp.int32)
        grown = jnp.take_along_axis(sequences, parent[:, :, None], axis=1)
        grown = jnp.where(
            jnp.arange(count, dtype=jnp.int32)[None, None] == i, new[:, :, None], grown
        )
        ends = new == config.eos
        last = i == count - 1
        finishes = (ends | last) & (jnp.arange(2 * beams) < beams)[None]
        length = (i + 1).astype(wide)
        final = jnp.where(finishes, total / length**length_penalty, NEVER)
        best, order = jax.lax.top_k(jnp.concatenate([best, final], axis=1), beams)
        both = jnp.concatenate([done, grown], axis=1)
        done = jnp.take_along_axis(both, order[:, :, None], axis=1)
        live, order = jax.lax.top_k(jnp.where(ends, NEVER, total), beams)
        pick = lambda a: jnp.take_along_axis(a, order, axis=1)
        sequences = jnp.take_along_axis(grown, order[:, :, None], axis=1)
        rows = (jnp.arange(batch, dtype=jnp.int32)[:, None] * beams + pick(parent)).reshape(-1)
        cache = cache._replace(k=cache.k[:, rows], v=cache.v[:, rows])
        return (pick(new), live, sequences, cache, done, best), None

    start = token, live, fill, cache, fill, best
    end, _ = jax.lax.scan(step, start, jnp.arange(count, dtype=jnp.int32))
    return end[4], end[5]


def _memory(params, config, tokens, mask):
    states = model.encode(params, config, model.embed(params, config, tokens), mask)
    return model.remember(params, config, states, mask)


def _next(params, config, token, memory, cache):
    """Scores (rows, vocab) of the token after this one."""
    x = model.embed(params, config, token[:, None])
    x, cache = model.decode(params, config, x, memory, cache=cache)
    return model.logits(params, config, x)[:, 0], cache
