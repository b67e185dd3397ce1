"""Collaborative learning between K participants, and what one of them sees of the others.

A `Protocol` is what participants send and how the model moves by it: synchronised SGD (the
gradient of one batch each, summed) or federated averaging (the change after a few local steps,
weighted by data). Participant 0 is the victim, participant 1 the adversary. It keeps the model
of every round and finds what the others sent by differencing:

    sum_{k != adversary} w_k u_k = undo(theta_t, theta_{t+1}) - w_adversary u_adversary

References:
    Melis et al. 2019, sections II and III; McMahan et al. 2017.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fl_jax.core import errors, rng, tree
from fl_jax.core.types import Array, Float, Int, Key, PyTree
from fl_jax.federated.defences.base import Defence
from fl_jax.train import cohort
from fl_jax.train import step as steps
from fl_jax.train.state import Variables

VICTIM, ADVERSARY = 0, 1
VIEWS = ("participant", "server", "secure aggregation")


class Protocol(NamedTuple):
    """What is sent, and what becomes of it."""

    contribute: Callable[[PyTree, PyTree, Key[Array, ""]], PyTree]
    """(params, batches, key) -> update, of the form of params"""
    weights: Callable[[np.ndarray], np.ndarray]
    """(K,) examples that participants hold -> (K,) float32 weights of their updates"""
    advance: Callable[[PyTree, PyTree], PyTree]
    """(params, weighted sum of updates) -> params of the next round"""
    undo: Callable[[PyTree, PyTree], PyTree]
    """(params, params of the next round) -> weighted sum of updates"""


def synchronised_sgd(loss: steps.Loss, *, rate: float) -> Protocol:
    """Everyone sends the gradient of one batch; theta <- theta - rate * sum of gradients.

    Batches have leaves (batch, ...). The sum, not the mean, as in the authors' code.

    Args:
        loss: (variables, batch, key) -> (loss, (batch_stats, metrics)).
        rate: learning rate.
    """
    errors.positive("learning rate", rate)

    def contribute(params, batch, key):
        return steps.gradient(loss, Variables(params, {}), batch, key)[1]

    return Protocol(
        contribute,
        weights=lambda sizes: np.ones(len(sizes), np.float32),
        advance=lambda params, total: jax.tree.map(lambda p, g: p - rate * g, params, total),
        # What rounding leaves of the difference is at most an ulp of theta over the rate.
        undo=lambda before, after: tree.scale(1 / rate, tree.sub(before, after)),
    )


def federated_averaging(loss: steps.Loss, optimizer: optax.GradientTransformation) -> Protocol:
    """Everyone takes local steps from the common model; the changes are averaged by data.

    Batches have leaves (steps, batch, ...): one local step on each.

    Args:
        loss: as in `synchronised_sgd`.
        optimizer: the local optimizer, which starts afresh each round.
    """

    def contribute(params, batches, key):
        def one(carry, item):
            batch, i = item
            variables, state, _ = steps.descend(
                loss, optimizer, *carry, batch, rng.fold(key, "step", i)
            )
            return (variables, state), None

        count = jax.tree.leaves(batches)[0].shape[0]
        start = (Variables(params, {}), optimizer.init(params))
        (end, _), _ = jax.lax.scan(one, start, (batches, jnp.arange(count)))
        return tree.sub(end.params, params)

    return Protocol(
        contribute,
        weights=lambda sizes: (np.asarray(sizes) / np.sum(sizes)).astype(np.float32),
        advance=tree.add,
        undo=lambda before, after: tree.sub(after, before),
    )


class State(NamedTuple):
    """Everything the next round needs."""

    round: Int[Array, ""]
    params: PyTree
    adversary: PyTree  # what the adversary keeps to itself, such as a property head
    defence: PyTree


class Info(NamedTuple):
    """What a round reports. Nobody but the server (and a test) sees `others` and `victim`."""

    own: PyTree  # the adversary's weighted update
    others: PyTree  # the true weighted sum of everyone else's
    victim: PyTree  # the victim's alone


class Learning(NamedTuple):
    """Collaborative learning as a pair of pure functions."""

    init: Callable[..., State]
    """(params, the adversary's own state = ()) -> state"""
    step: Callable[..., tuple[State, Info]]
    """(state, examples, indices (K, ...) of everyone's batches, key) -> (state, info)"""
    send: Callable[[PyTree, PyTree, Key[Array, ""]], PyTree]
    """(params, batches, key) -> what an honest participant sends, before it is weighted"""


def make(
    protocol: Protocol,
    sizes: np.ndarray,
    *,
    share: Callable[[PyTree, Key[Array, ""]], PyTree] = lambda update, key: update,
    defence: Defence = Defence(),
    adversary: Callable[..., tuple[PyTree, PyTree]] | None = None,
    plan: cohort.Plan = cohort.Plan("vmap"),
) -> Learning:
    """Learning with these parts.

    Args:
        protocol: from `synchronised_sgd` or `federated_averaging`.
        sizes: (K,) examples that each participant holds.
        share: (update, key) -> what of it a participant sends, from `sharing`; the adversary
            keeps to it too.
        defence: what the server does to every update and to their sum, from
            `fl_jax.federated.defences`.
        adversary: (params, own state, batches, key) -> (update, own state); None = honest.
        plan: how the other participants run (`cohort.Plan`).

    Raises:
        ConfigError: fewer than two participants. The step, when it is traced: batches of another
            number of participants.
    """
    if len(sizes) < 2:
        raise errors.ConfigError(
            f"collaborative learning needs a victim and an adversary, so K >= 2, got {len(sizes)}."
        )
    weights = jnp.asarray(protocol.weights(np.asarray(sizes)))
    honest = np.array([k for k in range(len(sizes)) if k != ADVERSARY])  # the victim comes first

    def send(params, batches, key):
        return share(protocol.contribute(params, batches, rng.fold(key, "local")), key)

    def passive(params, state, batches, key):
        return protocol.contribute(params, batches, rng.fold(key, "local")), state

    act = adversary or passive

    def init(params, own=()) -> State:
        return State(jnp.zeros((), jnp.int32), params, own, defence.init(params))

    def step(state: State, examples, indices, key):
        key = rng.fold(key, "round", state.round)
        fetch = lambda taken: jax.tree.map(lambda leaf: leaf[taken], examples)
        if indices.shape[0] != len(sizes):  # indexing would clamp, and some count twice
            raise errors.ConfigError(
                f"learning was made for {len(sizes)} participants, but the batches of a round are"
                f" of {indices.shape[0]}; give both the same (split.make(participants=...), sizes)."
            )

        def one(item, params, defended):
            who, taken = item
            update = send(params, fetch(taken), rng.fold(key, "participant", who))
            return tree.scale(weights[who], defence.client(update, defended))

        items = (jnp.asarray(honest), indices[honest])
        sent = cohort.map(
            one, items, shared=(state.params, state.defence), plan=plan, stage="participants"
        )
        others = jax.tree.map(lambda leaf: jnp.sum(leaf, axis=0), sent)
        own_key = rng.fold(key, "participant", ADVERSARY)
        own, own_state = act(state.params, state.adversary, fetch(indices[ADVERSARY]), own_key)
        own = defence.client(share(own, own_key), state.defence)
        own = tree.scale(weights[ADVERSARY], own)
        total, defended = defence.server(
            tree.add(others, own), state.defence, rng.fold(key, "defence")
        )
        params = protocol.advance(state.params, total)
        new = State(state.round + 1, params, own_state, defended)
        return new, Info(own, others, jax.tree.map(lambda leaf: leaf[0], sent))

    return Learning(init, step, send)


class View(NamedTuple):
    """What a threat model lets the adversary see of a round."""

    observe: Callable[[PyTree, PyTree, Info], PyTree]
    """(params, params of the next round, info) -> the update under attack"""
    others: int  # innocent updates that it holds beside the victim's


def view(kind: str, protocol: Protocol, participants: int) -> View:
    """A threat model.

    Args:
        kind: `participant` sees the models and knows its own update: the sum of the others, by
            differencing. `server` receives every update, so the victim's alone.
            `secure aggregation` is the server when updates are summed under encryption: the sum
            of all K, none of which it knows.
        protocol: how the model moves.
        participants: K.
    """
    errors.one_of("threat model", kind, VIEWS)

    def by_differencing(before, after, info):
        return tree.sub(protocol.undo(before, after), info.own)

    if kind == "participant":
        return View(by_differencing, participants - 2)
    if kind == "server":
        return View(lambda before, after, info: info.victim, 0)
    return View(lambda before, after, info: protocol.undo(before, after), participants - 1)


def run(learning: Learning, record: Callable[..., Any]):
    """Rounds as one program: (state, examples, batches, key) -> (state, records stacked).

    Args:
        learning: from `make`.
        record: (params, params of the next round, info, examples, batches of this round, key)
            -> what is kept of a round.

    Returns:
        A function whose `batches` is a pytree of index arrays with a leading axis of rounds; its
        leaf `participants` (rounds, K, ...) says who trains on what.
    """

    def many(state, examples, batches, key):
        def one(state, batch):
            new, info = learning.step(state, examples, batch["participants"], key)
            kept = record(state.params, new.params, info, examples, batch, key)
            return new, kept

        return jax.lax.scan(one, state, batches)

    return many


def roundoff(before: PyTree, after: PyTree, rate: float) -> Float[Array, ""]:
    """The most that rounding can change an entry of a gradient found by differencing.

    Each of theta_t - rate * g and its rounding err by half an ulp of theta; a gradient row that
    is exactly zero in truth lies below this bound, not at zero, where the adversary's own batch
    touched it.
    """
    largest = jnp.max(jnp.stack([jnp.max(jnp.abs(a)) for a in jax.tree.leaves((before, after))]))
    return 2 * jnp.finfo(jnp.float32).eps * largest / rate
