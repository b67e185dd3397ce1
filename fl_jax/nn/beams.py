"""Beam search, whatever the model: which continuations go on, which are finished, when it ends."""

import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from fl_jax.core import errors
from fl_jax.core.types import Array, Bool, Float, Int

NEVER = -jnp.inf  # the score of a beam that does not exist
STOPS = (False, True, "never")


@dataclasses.dataclass(frozen=True)
class Search:
    """How wide to search and when to end; the rules, and the defaults, are transformers'.

    A finished sequence of n tokens, its end mark counted, scores log p / n^length_penalty.
    """

    beams: int = 4
    length_penalty: float = 1.0  # above 0 favours long sequences, below 0 short ones
    # False: a text ends once its best beam, were it to end now, is no better than the worst of
    # `beams` finished ones; True: once there are so many; "never": once no beam could be better
    # after all tokens that may be added.
    early_stopping: bool | str = False

    def __post_init__(self):
        """Refuses what cannot be searched by.

        Raises:
            ConfigError: no beams, a length_penalty that is not finite, or an unknown
                early_stopping.
        """
        errors.whole("beams", self.beams, 1)
        if not math.isfinite(self.length_penalty):
            raise errors.ConfigError(f"length_penalty must be finite, got {self.length_penalty}.")
        if self.early_stopping not in STOPS:
            raise errors.ConfigError(
                f"early_stopping is False, True or 'never', got {self.early_stopping!r}."
            )


class State(NamedTuple):
    """Every text's beams. A beam that does not exist scores -inf."""

    logs: Float[Array, "batch beams"]  # log p of those that go on, best first
    tokens: Int[Array, "batch beams count"]  # theirs, filled with pad
    scores: Float[Array, "batch beams"]  # of the finished ones, best first
    done: Int[Array, "batch beams count"]
    open: Bool[Array, " batch"]  # False: nothing changes any more
    broken: Bool[Array, " batch"]  # NaN came from the model


def start(search: Search, batch: int, count: int, pad: int, dtype) -> State:
    """One beam for each text, of no tokens; scores are of this dtype."""
    first = jnp.where(jnp.arange(search.beams) == 0, 0.0, NEVER).astype(dtype)
    logs = jnp.broadcast_to(first[None], (batch, search.beams))
    tokens = jnp.full((batch, search.beams, count), pad, jnp.int32)
    flag = lambda value: jnp.full(batch, value)
    return State(logs, tokens, jnp.full_like(logs, NEVER), tokens, flag(True), flag(False))


def extend(
    search: Search,
    state: State,
    logs: Float[Array, "batch beams vocab"],
    i: Int[Array, ""],
    ends: Bool[Array, "#batch #beams vocab"],
) -> tuple[State, Int[Array, "batch beams"], Int[Array, "batch beams"]]:
    """One more token for every beam.

    Of the `beams` best continuations of a text, those that end are finished; the `beams` best that
    do not end go on. The last token finishes what has it.

    Args:
        search: how wide, and when to end.
        state: from `start` or the call before.
        logs: log p of the token at place `i` behind each beam, -inf where it may not stand.
        i: tokens that beams have.
        ends: whether a sequence ends with that token behind that beam.

    Returns:
        (state, for each beam which one of the old it continues, and with which token).
    """
    batch, beams, _ = logs.shape
    count = state.tokens.shape[-1]
    there = state.logs > NEVER
    together = state.logs[:, :, None] + logs.astype(state.logs.dtype)
    together = jnp.where(there[..., None], together, NEVER)
    broken = state.open & jnp.any(jnp.isnan(together), axis=(1, 2))
    total, parent, token = _best(together, beams)
    grown = _grow(state.tokens, parent, token, i)
    over = jnp.broadcast_to(ends, logs.shape)[
        jnp.arange(batch, dtype=jnp.int32)[:, None], parent, token
    ]
    length = lambda n: jnp.asarray(n, total.dtype) ** search.length_penalty
    final = jnp.where(over | (i == count - 1), total / length(i + 1), NEVER)
    scores, order = jax.lax.top_k(jnp.concatenate([state.scores, final], axis=1), beams)
    done = _pick(jnp.concatenate([state.done, grown], axis=1), order)
    kept = state.open[:, None]
    scores = jnp.where(kept, scores, state.scores)
    done = jnp.where(kept[..., None], done, state.done)
    going, parent, token = _best(jnp.where(ends, NEVER, together), beams)
    longest = count if search.early_stopping == "never" and search.length_penalty > 0 else i + 1
    worst = scores[:, -1]
    better = going[:, 0] / length(longest) > worst
    if search.early_stopping and search.early_stopping != "never":
        better &= worst == NEVER
    tokens = _grow(state.tokens, parent, token, i)
    broken |= state.broken
    state = State(going, tokens, scores, done, state.open & better & ~broken, broken)
    return state, parent, token


def _best(logs, beams):
    """The greatest of a text's, and which beam and token they are of.

    Of every beam first: over all at once a search on a CPU takes five times as long.
    """
    each, token = jax.lax.top_k(logs, min(beams, logs.shape[-1]))
    total, place = jax.lax.top_k(each.reshape(len(logs), -1), beams)
    token = jnp.take_along_axis(token.reshape(len(logs), -1), place, axis=1)
    return total, place.astype(jnp.int32) // each.shape[-1], token.astype(jnp.int32)


def _grow(tokens, parent, token, i):
    """The sequences of these parents, with these tokens at place `i`."""
    here = jnp.arange(tokens.shape[-1], dtype=jnp.int32)[None, None] == i
    return jnp.where(here, token[:, :, None], _pick(tokens, parent))


def found(
    state: State, pad: int
) -> tuple[Int[Array, "batch beams count"], Float[Array, "batch beams"]]:
    """(tokens of the finished sequences, their scores), best first; -1 and NaN where NaN came."""
    first = jnp.arange(state.done.shape[-1]) == 0
    tokens = jnp.where((state.scores == NEVER)[..., None], pad, state.done)
    tokens = jnp.where(state.broken[:, None, None], jnp.where(first, -1, pad), tokens)
    return tokens, jnp.where(state.broken[:, None], jnp.nan, state.scores)


def rows(parent: Int[Array, "batch beams"]) -> Int[Array, " rows"]:
    """The rows (batch x beams) that every row continues: how a cache is put in order."""
    batch, beams = parent.shape
    return (jnp.arange(batch, dtype=jnp.int32)[:, None] * beams + parent).reshape(-1)


def _pick(a, order):
    """Entries (batch, beams, ...) in another order (batch, beams)."""
    return jnp.take_along_axis(a, order.reshape(*order.shape, *(1,) * (a.ndim - 2)), axis=1)
