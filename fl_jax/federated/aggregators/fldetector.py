"""FLDetector: whose updates do not follow from its earlier ones is left out."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from fl_jax.core import errors, tree
from fl_jax.core.types import Array, Bool, Float, Int, Key, PyTree
from fl_jax.federated.aggregators.base import Aggregator, Stacked, only_if, senders_of
from fl_jax.federated.statistics import gap, lbfgs
from fl_jax.federated.statistics import gram as grams


class Memory(NamedTuple):
    """What the server remembers; trees are of the selected part."""

    updates: PyTree  # leaves (participants, ...): the last update of each
    sent: Int[Array, " participants"]  # in which round; -1 = never
    scores: Float[Array, "participants window"]  # newest last
    scored: Int[Array, " participants"]  # how many of them there are
    found: Bool[Array, " participants"]  # whom the last round held for malicious
    model: PyTree  # of the round
    aggregate: PyTree  # of the round before
    moves: PyTree  # leaves (window + 1, ...): steps of the model, newest last
    turns: PyTree  # leaves (window, ...): changes of the mean gradient along all but the newest
    round: Int[Array, ""]
    key: Key[Array, ""]


def _append(rows: PyTree, new: PyTree) -> PyTree:
    return jax.tree.map(lambda a, b: jnp.concatenate([a[1:], b[None].astype(a.dtype)]), rows, new)


def suspicion(state: Memory) -> Float[Array, " participants"]:
    """The mean of each participant's last scores; 0 without any."""
    counts = jnp.maximum(state.scored, 1).astype(jnp.float32)
    return jnp.sum(state.scores, axis=1) / counts


def fldetector(
    *,
    participants: int,
    window: int = 10,
    draws: int = 20,
    select: Callable[[PyTree], PyTree] = lambda update: update,
) -> Aggregator:
    """The mean of the updates of those who are not found malicious by what they sent before.

    From its last update, a participant's gradient at w_t is predicted as
    g_i(w_tau) + H (w_t - w_tau), with H from L-BFGS on the last `window` steps and changes of the
    mean gradient. Its score in a round is the distance to what it sends, over the mean distance
    of the round; its suspicion the mean of its last `window` scores. Where the gap statistic sees
    more than one group among all who have a score, the upper group of 2-means is left out.

    The paper lets everyone take part in every round (tau = t - 1), stops at the first detection
    and trains again without whom it found. Here a participant may miss up to `window` rounds
    between two updates (after more it gets no score), and who is found is left out of rounds for
    as long as its scores say so; `restart.restart(rule, found=lambda state: state.found, ...)`
    trains again. Scores start once there are `window` pairs; until then it is the plain mean.

    Args:
        participants: n, whose last updates and scores are kept.
        window: N, pairs of the Hessian and scores of a participant.
        draws: sets of uniform numbers of the gap statistic.
        select: (update or variables) -> the part that is predicted; memory is n + 2 N times it.

    Raises:
        ConfigError: a number that is not positive; updates without ids from fewer than n (when
            the round is traced).

    References:
        Zhang, Cao, Jia, Gong 2022, "FLDetector: Defending Federated Learning Against Model
        Poisoning Attacks via Detecting Malicious Clients", Algorithms 1 to 3.
    """
    errors.whole("participants", participants, least=1)
    errors.whole("window of FLDetector", window, least=1)
    errors.whole("draws of the gap statistic", draws, least=1)

    def init(variables):
        part = tree.zeros_like(select(variables))
        rows = lambda count: jax.tree.map(lambda a: jnp.zeros((count, *a.shape), a.dtype), part)
        return Memory(
            updates=rows(participants),
            sent=jnp.full(participants, -1, jnp.int32),
            scores=jnp.zeros((participants, window), jnp.float32),
            scored=jnp.zeros(participants, jnp.int32),
            found=jnp.zeros(participants, bool),
            model=part,
            aggregate=part,
            moves=rows(window + 1),
            turns=rows(window),
            round=jnp.zeros((), jnp.int32),
            key=jax.random.key(0),
        )

    def begin(variables, state, key):
        model = select(variables)
        step = only_if(state.round > 0, tree.sub(model, state.model))
        return state._replace(model=model, moves=_append(state.moves, step), key=key)

    def predictions(state: Memory, ids):
        """(the predicted update of each of these, whether there is one)."""
        age = state.round - state.sent[ids]
        known = (state.sent[ids] >= 0) & (age <= window + 1) & (state.round > window)
        place = jnp.arange(window + 1)[::-1]  # rounds before this one
        along = ((place[None, :] < age[:, None]) & known[:, None]).astype(jnp.float32)
        basis = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), state.moves, state.turns)
        bend = lbfgs.products(grams.gram(basis), along, window)
        last = jax.tree.map(lambda leaf: leaf[ids], state.updates)
        return tree.sub(last, grams.combine(bend, basis)), known  # an update is minus a gradient

    def update(seen: Stacked, state: Memory):
        arrived = seen.weights > 0
        ids = senders_of("FLDetector", seen, participants)
        part = jax.vmap(select)(seen.updates)
        predicted, known = predictions(state, ids)
        known &= arrived
        away = jax.vmap(tree.norm)(tree.sub(part, predicted))
        usual = jnp.sum(jnp.where(known, away, 0.0)) / jnp.maximum(jnp.sum(known), 1).astype(
            jnp.float32
        )
        score = away / jnp.where(usual > 0, usual, 1.0)

        rows = jnp.concatenate([state.scores[ids][:, 1:], score[:, None]], axis=1)
        scores = state.scores.at[ids].set(jnp.where(known[:, None], rows, state.scores[ids]))
        scored = jnp.minimum(state.scored.at[ids].add(known.astype(jnp.int32)), window)
        judged = state._replace(scores=scores, scored=scored)
        several, upper = gap.split(state.key, suspicion(judged), scored > 0, draws)
        found = several & upper
        kept = arrived & ~found[ids]
        out = grams.mean_of(kept, seen.updates)

        aggregate = select(out)
        turn = only_if(state.round > 0, tree.sub(state.aggregate, aggregate))
        put = lambda all, new: all.at[ids].set(
            jnp.where(arrived.reshape(-1, *[1] * (new.ndim - 1)), new, all[ids])
        )
        return out, judged._replace(
            found=found,
            updates=jax.tree.map(put, state.updates, part),
            sent=put(state.sent, jnp.broadcast_to(state.round, ids.shape)),
            aggregate=aggregate,
            turns=_append(state.turns, turn),
            round=state.round + 1,
        )

    def score(update, others: Stacked, state: Memory):
        """The distance to the nearest prediction for a sender who is not among the others, as the
        update's own sender is one of them; its norm where there is no prediction."""
        if others.ids is None:
            ids, free = jnp.arange(participants), jnp.ones(participants, bool)
        else:
            ids, free = others.ids, others.weights == 0
        predicted, known = predictions(state, ids)
        own = select(update)
        away = jax.vmap(lambda p: tree.norm(tree.sub(own, p)))(predicted)
        nearest = jnp.min(jnp.where(known & free, away, jnp.inf))
        return jnp.where(jnp.isfinite(nearest), nearest, tree.norm(own))

    return Aggregator(init, update, Stacked, begin=begin, score=score, memory="gram")
