"""Beam search: the likeliest continuations instead of one token after the other, as transformers
does it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from fl_jax.bloom import decode, generate, layout
from fl_jax.bloom import sampling as samplings
from fl_jax.bloom.config import Config
from fl_jax.bloom.layout import Ready
from fl_jax.bloom.sampling import GREEDY, Sampling
from fl_jax.core import dtypes, errors
from fl_jax.core.types import Array, Bool, Float, Int, PyTree
from fl_jax.nn import beams
from fl_jax.nn.beams import Search


def search(
    params: PyTree | Ready,
    config: Config,
    tokens: Int[Array, "batch time"],
    mask: Bool[Array, "batch time"] | None = None,
    *,
    count: int,
    by: Search = Search(),
    rules: Sampling = GREEDY,
    capacity: int | None = None,
    stop: Int[Array, "states vocab"] | None = None,
) -> tuple[Int[Array, "batch beams count"], Float[Array, "batch beams"]]:
    """The best sequences of `count` tokens at most behind every prompt, and their scores.

    A prompt is read once for all of its beams, and its row of a batch finds what it finds alone, up
    to rounding. What has not ended after `count` tokens is finished as it is.

    Args:
        params, config, tokens, mask, capacity, stop: as for `generate.generate`.
        count: tokens to add at most.
        by: how many beams, how sequences are scored, when to end (`fl_jax.nn.beams.Search`).
        rules: what looks back (repetition_penalty, no_repeat, least, rule); it is applied to
            log-probabilities here.

    Returns:
        (tokens, padded behind an end, scores), best first. Where there are fewer sequences than
        beams, what is left over is pad and scores -inf; -1 and NaN where the logits are NaN
        (`generate.check_drawn`).

    Raises:
        ConfigError: a temperature, or as `generate.generate`.
        DataError: as `generate.generate`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from fl_jax import bloom
        >>> config = bloom.Config(vocab=32, hidden=24, layers=2, heads=6, eos=31, pad=0)
        >>> params = bloom.init(jax.random.key(0), config)
        >>> found, scores = search(params, config, jnp.array([[5, 9, 2]]), count=4)
        >>> found.shape, scores.shape
        ((1, 4, 4), (1, 4))
    """
    given = layout.Given(tokens, mask, None, stop)
    capacity = generate.check_prompts(config, given, count, capacity)
    if rules.temperature:
        raise errors.ConfigError(
            f"a search by beams draws nothing, but came with temperature {rules.temperature};"
            " leave it 0, or generate without beams."
        )
    return layout.run(_search, params, config, _Asked(count, by, rules, capacity), given)


class _Asked(NamedTuple):
    count: int
    by: Search
    rules: Sampling
    capacity: int


def _search(weights, config, asked, given, first_row):
    """`search` of some rows, inside a program."""
    count, by, rules, _ = asked
    batch, time = given.tokens.shape
    width, stop = by.beams, given.stop
    each = lambda a: jnp.repeat(a, width, axis=0)
    parts = generate.stages(weights, time, count, asked.capacity)
    first, cache = generate.prompt(weights, config, given, parts[0][1])
    cache, advance, order, _ = layout.steps(weights, config, cache, width)
    tokens, mask = each(given.tokens), None if given.mask is None else each(given.mask)

    def extend(i, logits, state, place):
        """One more token, by logits (rows, vocab); `place` is each beam's in the stops."""
        logs = jax.nn.log_softmax(logits, axis=-1)
        if rules.looks_back:
            out = state.tokens.reshape(batch * width, count)
            text, there = generate.written(tokens, mask, out, i)
            logs = samplings.hold(rules, logs, text, there, count, i, config.eos)

        ends = (jnp.arange(config.vocab) == config.eos)[None, None]
        if stop is not None:
            ends |= stop[place] == len(stop) - 1
        logs = logs.reshape(batch, width, -1)
        state, parent, token = beams.extend(by, state, logs, i, ends)
        if stop is not None:
            place = stop[jnp.take_along_axis(place, parent, axis=1), token]
        return state, place, parent, token

    def step(carry):
        i, state, place, parent, token, cache = carry
        logits, cache = advance(token.reshape(-1), order(cache, beams.rows(parent)))
        with jax.named_scope("draw"):
            return i + 1, *extend(i, logits, state, place), cache

    state = beams.start(by, batch, count, config.pad, dtypes.wide(config.dtype))
    place = None if stop is None else jnp.zeros((batch, width), jnp.int32)
    carry = jnp.int32(1), *extend(jnp.int32(0), each(first), state, place), cache
    for end, room in parts:
        *so_far, cache = carry
        carry = *so_far, cache if room == cache.mask.shape[1] else decode.grow(cache, room)
        unfinished = lambda carry, end=end: (carry[0] < end) & jnp.any(carry[1].open)
        carry = jax.lax.while_loop(unfinished, step, carry)
    return beams.found(carry[1], config.pad)
