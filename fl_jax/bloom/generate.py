"""Generation: batched, cached, greedy or sampled, prompts of any lengths padded on the left."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fl_jax.bloom import decode, layout, model
from fl_jax.bloom import sampling as samplings
from fl_jax.bloom.config import Config
from fl_jax.bloom.layout import Ready
from fl_jax.bloom.sampling import GREEDY, Sampling
from fl_jax.core import dtypes, errors
from fl_jax.core.types import Array, Bool, Float, Int, Key, PyTree
from fl_jax.nn.tokens import check_mask, check_tokens


def generate(
    params: PyTree | Ready,
    config: Config,
    tokens: Int[Array, "batch time"],
    mask: Bool[Array, "batch time"] | None = None,
    *,
    count: int,
    sampling: Sampling = GREEDY,
    key: Key[Array, ""] | None = None,
    capacity: int | None = None,
    samples: int = 1,
    stop: Int[Array, "states vocab"] | None = None,
) -> Int[Array, "rows count"]:
    """The next `count` tokens of every prompt.

    A row that has produced `config.eos`, or the end of a stop, continues with `config.pad`; when
    all rows have, no further step is computed. Row i of a batch gets the tokens that it gets
    alone, up to rounding. Where the model's logits are NaN, -1 ends a row (`check_drawn`).

    Args:
        params: as for `model.apply`, or from `layout.ready`, which lays them out once for many
            calls and over the devices of a mesh.
        config: the model's; with `scan=False` a step costs least (`fl_jax.bloom.decode`), for
            which the layers are held once more.
        tokens: prompts.
        mask: False for padding; prompts end at the right edge, so pad on the left (`pad_left`).
        count: tokens to add.
        sampling: greedy, or how to draw, and under which rules.
        key: for drawing; each row and place has its own.
        capacity: of the cache; by default just what is needed.
        samples: how often each prompt is gone on from: rows are batch x samples, those of a prompt
            side by side. It is read once.
        stop: where rows end beside `config.eos`, from `fl_jax.bloom.stops`.

    Raises:
        ConfigError: no tokens to add, a cache that is too small, drawing without a key, several
            samples that would be alike, stops of another vocabulary, parameters of another size
            than the config's, or rows that the mesh does not divide.
        DataError: a mask of another shape; tokens that are no ids of the vocabulary, or a prompt
            that ends in padding (checked where they are concrete).

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from fl_jax import bloom
        >>> config = bloom.Config(vocab=32, hidden=24, layers=2, heads=6, eos=31, pad=0)
        >>> params = bloom.init(jax.random.key(0), config)
        >>> generate(params, config, jnp.array([[5, 9, 2]]), count=4).shape
        (1, 4)
    """
    given = layout.Given(tokens, mask, key, stop)
    return _run(False, params, config, given, count, sampling, capacity, samples)


def likelihoods(
    params: PyTree | Ready,
    config: Config,
    tokens: Int[Array, "batch time"],
    mask: Bool[Array, "batch time"] | None = None,
    *,
    count: int,
    sampling: Sampling = GREEDY,
    key: Key[Array, ""] | None = None,
    capacity: int | None = None,
    samples: int = 1,
    stop: Int[Array, "states vocab"] | None = None,
) -> tuple[Int[Array, "rows count"], Float[Array, "rows count"]]:
    """As `generate`, and the log-probability of every token under the model.

    The model's own, at temperature 1 and without the rules; 0 for the padding behind an end, NaN
    where the logits are.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from fl_jax import bloom
        >>> config = bloom.Config(vocab=32, hidden=24, layers=2, heads=6, eos=31, pad=0)
        >>> params = bloom.init(jax.random.key(0), config)
        >>> made, logs = likelihoods(params, config, jnp.array([[5, 9, 2]]), count=4)
        >>> made.shape == logs.shape, bool((logs < 0).all())
        (True, True)
    """
    given = layout.Given(tokens, mask, key, stop)
    return _run(True, params, config, given, count, sampling, capacity, samples)


class Asked(NamedTuple):
    """What a program of `generate` depends on."""

    count: int
    sampling: Sampling
    capacity: int
    samples: int = 1
    told: bool = False  # whether it says the log-probabilities as well


def _run(told, params, config, given, count, sampling, capacity, samples):
    capacity = check_prompts(config, given, count, capacity)
    errors.whole("samples", samples, 1)
    if sampling.temperature and given.key is None:
        raise errors.ConfigError("drawing tokens needs a key; give one, or temperature 0.")
    if samples > 1 and not sampling.temperature:
        raise errors.ConfigError(
            f"{samples} samples of temperature 0 would all be the same; give a temperature, or"
            " search by beams."
        )
    asked = Asked(count, sampling, capacity, samples, told)
    return layout.run(_generate, params, config, asked, given)


def check_prompts(config: Config, given: layout.Given, count: int, capacity: int | None) -> int:
    """Refuses what cannot be gone on from; the capacity of the cache.

    Raises:
        ConfigError, DataError: as `generate`.
    """
    errors.whole("count", count, 1)
    check_tokens(given.tokens, config.vocab)
    time = given.tokens.shape[1]
    capacity = time + count if capacity is None else capacity
    if capacity < time + count:
        raise errors.ConfigError(
            f"a cache of {capacity} tokens cannot hold {time} of a prompt and {count} new ones."
        )
    if given.stop is not None and given.stop.shape[1] != config.vocab:
        raise errors.ConfigError(
            f"the stops are of a vocabulary of {given.stop.shape[1]} tokens, the model's has"
            f" {config.vocab}."
        )
    check_mask(given.mask, given.tokens)
    _check_edge(given.mask)
    return capacity


def _check_edge(mask):
    """Refuses prompts that do not end at the right edge: padding would be gone on from."""
    if mask is None or isinstance(mask, jax.core.Tracer):
        return
    if not np.asarray(mask)[:, -1].all():
        raise errors.DataError(
            "a prompt ends in padding, or is nothing else; pad on the left (`pad_left`), and begin"
            " an empty prompt with <s>."
        )


STAGES, STAGE = 4, 32  # at most so many, and tokens drawn in one at least


class Drawn(NamedTuple):
    """What a generation has drawn so far."""

    token: Int[Array, " rows"]  # the last
    out: Int[Array, "rows count"]
    done: Bool[Array, " rows"]
    logs: Float[Array, "rows count"] | None  # where they are asked for
    state: Int[Array, " rows"] | None  # of the automaton of stops


def _generate(weights, config: Config, asked: Asked, given: layout.Given, first_row=0):
    """`generate` of rows that begin at `first_row` of the batch, inside a program."""
    tokens, mask, key, stop = given
    count, sampling, _, samples, told = asked
    each = lambda a: jnp.repeat(a, samples, axis=0) if samples > 1 else a
    parts = stages(weights, tokens.shape[1], count, asked.capacity)
    first, cache = prompt(weights, config, given, parts[0][1])
    first, tokens, mask = each(first), each(tokens), None if mask is None else each(mask)
    batch = len(tokens)
    cache, advance, _, likeliest = layout.steps(weights, config, cache, samples)
    first_row = first_row * samples

    def draw(i, raw, drawn):
        logits = raw
        if sampling.looks_back:
            text, there = written(tokens, mask, drawn.out, i)
            logits = samplings.hold(sampling, raw, text, there, count, i, config.eos)
        if not sampling.temperature:
            alone = not sampling.looks_back
            token = likeliest(raw) if alone else samplings.sample(None, logits, GREEDY)
        else:
            keys = jax.vmap(lambda r: jax.random.fold_in(jax.random.fold_in(key, i), r))(
                first_row + jnp.arange(batch, dtype=jnp.int32)
            )
            one = lambda k, row: samplings.sample(k, row[None], sampling)[0]
            token = jax.vmap(one)(keys, logits)
        broken = token >= config.vocab
        token = jnp.where(drawn.done, config.pad, jnp.where(broken, -1, token))
        put = lambda a, new: jax.lax.dynamic_update_slice(a, new[:, None], dtypes.places(0, i))
        logs, state = drawn.logs, drawn.state
        over = drawn.done | broken | (token == config.eos)
        if told:
            known = jnp.take_along_axis(raw, jnp.maximum(token, 0)[:, None], axis=1)[:, 0]
            log_p = known - jax.nn.logsumexp(raw, axis=-1)
            logs = put(logs, jnp.where(drawn.done, 0.0, log_p).astype(logs.dtype))
        if stop is not None:
            state = stop[state, jnp.maximum(token, 0)]
            over |= state == len(stop) - 1
        return Drawn(token, put(drawn.out, token), over, logs, state)

    def step(carry):
        i, drawn, cache = carry
        logits, cache = advance(drawn.token, cache)
        with jax.named_scope("draw"):
            return i + 1, draw(i, logits, drawn), cache

    drawn = Drawn(
        jnp.zeros(batch, jnp.int32),
        jnp.full((batch, count), config.pad, jnp.int32),
        jnp.zeros(batch, bool),
        jnp.zeros((batch, count), dtypes.wide(config.dtype)) if told else None,
        None if stop is None else jnp.zeros(batch, jnp.int32),
    )
    drawn = draw(jnp.int32(0), first, drawn)
    i = jnp.int32(1)
    for end, room in parts:
        cache = cache if room == cache.mask.shape[1] else decode.grow(cache, room)
        unfinished = lambda carry, end=end: (carry[0] < end) & ~jnp.all(carry[1].done)
        i, drawn, cache = jax.lax.while_loop(unfinished, step, (i, drawn, cache))
    return (drawn.out, drawn.logs) if told else drawn.out


def prompt(weights, config: Config, given: layout.Given, capacity: int):
    """(logits behind the prompts, a cache that holds them), inside a program."""
    params = weights[0]
    cache = model.empty_cache(config, len(given.tokens), capacity)
    with jax.named_scope("prompt"):
        x, cache = model.hidden(params, config, given.tokens, given.mask, cache=cache)
        return model.logits(params, config, x[:, -1:])[:, 0], cache


def written(tokens, mask, out, i):
    """(prompts and what is to follow, which of it is there) where `i` tokens follow."""
    follows = jnp.broadcast_to(jnp.arange(out.shape[1])[None] < i, out.shape)
    here = jnp.ones(tokens.shape, bool) if mask is None else mask.astype(bool)
    text = jnp.concatenate([tokens.astype(jnp.int32), out], axis=1)
    return text, jnp.concatenate([here, follows], axis=1)


def stages(weights, time: int, count: int, capacity: int) -> list[tuple[int, int]]:
    """(tokens drawn by its end, capacity of its cache) for every stage of a generation.

    A step reads its whole cache, however little of it is written: so the cache grows in stages,
    where `decode` does the steps.
    """
    if weights[1] is None:
        return [(count, capacity)]
    parts = max(1, min(STAGES, count // STAGE))
    ends = [-(-count * (i + 1) // parts) for i in range(parts)]
    return [(end, time + end) for end in ends[:-1]] + [(count, capacity)]


def pad_left(prompts: Sequence[Sequence[int]], pad: int, *, multiple: int = 1):
    """Prompts of any lengths as (tokens (batch, time) int32, mask), padded on the left.

    Args:
        prompts: token ids; none may be empty.
        pad: id that fills.
        multiple: the width is rounded up to one, so that fewer shapes are compiled.

    Raises:
        DataError: an empty prompt: nothing predicts its first token.
    """
    if any(not len(p) for p in prompts) or not len(prompts):
        raise errors.DataError("a prompt is empty; begin it with <s> (id 1) to generate freely.")
    width = -(-max(map(len, prompts)) // multiple) * multiple
    tokens = np.full((len(prompts), width), pad, np.int32)
    mask = np.zeros((len(prompts), width), bool)
    for row, prompt in enumerate(prompts):
        tokens[row, width - len(prompt) :] = prompt
        mask[row, width - len(prompt) :] = True
    return jnp.asarray(tokens), jnp.asarray(mask)


def check_drawn(out: np.ndarray) -> None:
    """Refuses what `generate` drew of logits that are NaN.

    Raises:
        DataError: a -1 among the tokens.
    """
    if (out == -1).any():
        raise errors.DataError(
            "the model's logits are NaN; look for parameters that diverged or overflowed."
        )
