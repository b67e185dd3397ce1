"""What an aggregator is: pure functions, what it needs to see, and what it promises."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fl_jax.core import errors, tree
from fl_jax.core.types import Array, Float, Int, Key, PyTree
from fl_jax.federated.statistics import gram


class Summed(NamedTuple):
    """What remains of a round when updates are added up as they come."""

    total: PyTree  # sum of weight_i * update_i; of narrower floats in float32
    weight: Float[Array, ""]  # sum of weight_i

    @property
    def updates(self):
        """There are none here: says how to see them."""
        raise errors.ConfigError(
            "updates are added up as they come, so that none can be looked at by itself; a rule or"
            " an attack that compares them is made with sees=Stacked."
        )


class Stacked(NamedTuple):
    """All updates of a round, for rules that compare them."""

    updates: PyTree  # leaves (cohort, ...); zeros where the weight is 0
    weights: Float[Array, " cohort"]
    ids: Int[Array, " cohort"] | None = None  # who sent them, for rules with a memory of senders


# What a rule can promise; `tests/federated/aggregators/test_base.py` holds each to its word.
PROPERTIES = {
    "permutation": "the order of the updates does not matter",
    "equal": "m equal updates give that update",
    "translation": "a shift of all updates shifts the result",
    "scale": "a positive factor on all updates is a factor on the result",
    "outlier": "one update of 1e6 leaves the result in the others' range, coordinate by coordinate",
}
MEMORY = {
    "sum": "a running sum: memory does not grow with the cohort",
    "coordinates": "the stack of updates, read in blocks of coordinates",
    "gram": "the stack of updates, read twice: for inner products and for a linear combination",
}


def _same(variables, state, key):
    del variables, key
    return state


class Aggregator(NamedTuple):
    """How a server turns the updates of a round into one step.

    Memory decides the kind: a rule that can be written on sums sees `Summed`, and memory does
    not grow with the cohort; any other sees `Stacked`.
    """

    init: Callable[[PyTree], PyTree]
    """variables -> state, which lives from round to round"""
    update: Callable[[Any, PyTree], tuple[PyTree, PyTree]]
    """(Summed or Stacked, state) -> (aggregated update, state); of narrow updates it may be in
    float32, the round rounds it in the end"""
    sees: type = Summed
    weight: str = "uniform"  # what an update weighs: `uniform` (1) or `examples` (its share)
    begin: Callable[[PyTree, PyTree, Key[Array, ""]], PyTree] = _same
    """(variables, state, key) -> state, before anyone trains"""
    broadcast: Callable[[PyTree, PyTree], PyTree] | None = None
    """(variables, state that `begin` made) -> the round's global model, which everybody trains
    from and the step is added to; None: as it is"""
    arrive: Callable[[PyTree, PyTree], tuple[PyTree, Float[Array, ""]]] | None = None
    """(one update, state) -> (what is summed or stacked, factor of its weight); None: as it is"""
    local: bool = False  # whether a client can do `arrive` itself: it needs no other update
    reach: float = 0.0  # the largest number that `arrive` sends beside the update
    separation: int = 1  # rounds between two turns of a participant that its noise is meant for
    score: Callable[[PyTree, Stacked, PyTree], Float[Array, ""]] | None = None
    """(one update, the others, state) -> how suspicious the rule finds it; differentiable"""
    memory: str = "sum"  # a key of MEMORY
    properties: frozenset[str] = frozenset({"permutation"})  # keys of PROPERTIES

    @property
    def inspects(self) -> bool:
        """Whether the server looks at single updates, which secure aggregation forbids."""
        return self.sees is Stacked or (self.arrive is not None and not self.local)


def sent_out(rule: Aggregator, variables: PyTree, state: PyTree) -> PyTree:
    """The round's global model as the rule sends it out, from the state that `begin` made."""
    return variables if rule.broadcast is None else rule.broadcast(variables, state)


def stateless(variables: PyTree) -> tuple:
    """The `init` of an aggregator that remembers nothing."""
    del variables
    return ()


class Keyed(NamedTuple):
    """The round's key, of rules that draw: nobody knows it before the updates are sent."""

    key: Key[Array, ""]


def drawing(
    update: Callable[[Stacked, Keyed], tuple[PyTree, Keyed]],
    score: Callable[[PyTree, Stacked, Keyed], Float[Array, ""]],
    properties: frozenset[str],
) -> Aggregator:
    """A rule on the stack that draws anew in every round and remembers nothing else.

    Args:
        update, score, properties: as of `Aggregator`, the state being the round's `Keyed`.
    """
    return Aggregator(
        lambda variables: Keyed(jax.random.key(0)),
        update,
        Stacked,
        begin=lambda variables, state, key: Keyed(key),
        score=score,
        memory="gram",
        properties=properties,
    )


def against_model(
    update: Callable[[Stacked, PyTree], tuple[PyTree, PyTree]],
    score: Callable[[PyTree, Stacked, PyTree], Float[Array, ""]],
    properties: frozenset[str],
) -> Aggregator:
    """A rule on the stack that looks at the round's global model and remembers nothing else.

    Args:
        update, score, properties: as of `Aggregator`, the state being the model's variables.
    """
    return Aggregator(
        tree.zeros_like,
        update,
        Stacked,
        begin=lambda variables, state, key: variables,
        score=score,
        memory="gram",
        properties=properties,
    )


def as_stacked(rule: Aggregator) -> Aggregator:
    """The same rule seeing `Stacked`: what a running sum gives, from the stack.

    For rounds that stack anyway (an omniscient attacker, a detector), and for `choice`. What it
    gives is in the dtypes of the updates.
    """
    if rule.sees is Stacked and rule.arrive is None:
        return rule

    def update(seen: Stacked, state):
        like = seen.updates
        if rule.arrive is not None:
            taken, factors = jax.vmap(rule.arrive, (0, None))(like, state)
            weights = seen.weights * factors
            there = lambda a: jnp.where(weights.reshape(-1, *[1] * (a.ndim - 1)) > 0, a, 0)
            seen = Stacked(jax.tree.map(there, taken), weights, seen.ids)
        out, state = rule.update(summed(seen) if rule.sees is Summed else seen, state)
        return tree.cast(out, like), state

    return rule._replace(update=update, arrive=None, sees=Stacked)


def summed(seen: Stacked) -> Summed:
    """The running sum that these updates would have given."""

    return Summed(gram.combine(seen.weights, tree.wide(seen.updates)), jnp.sum(seen.weights))


def average(seen: Summed) -> PyTree:
    """total / weight; 0 where nothing arrived."""
    safe = jnp.where(seen.weight > 0, seen.weight, 1.0)
    return jax.tree.map(lambda total: total / safe.astype(total.dtype), seen.total)


def only_if(enough, update: PyTree) -> PyTree:
    """The update, or zeros where too few arrived for the rule to say anything."""
    return tree.where(enough, update, tree.zeros_like(update))


def senders_of(rule: str, seen: Stacked, participants: int) -> Int[Array, " cohort"]:
    """Who sent the updates; without ids they are those of all participants in their order.

    Raises:
        ConfigError: updates without ids from fewer than all.
    """
    if seen.ids is not None:
        return seen.ids
    if seen.weights.shape[0] != participants:
        raise errors.ConfigError(
            f"{rule} needs to know who sent what, but {seen.weights.shape[0]} updates come"
            f" without ids; give ids, or all {participants} participants in their order."
        )
    return jnp.arange(participants)


def needs(rule: str, seen: Stacked, least: int, condition: str, arguments: str) -> None:
    """Refuses a cohort that is too small for a rule.

    Raises:
        ConfigError: fewer than `least` updates a round.
    """
    count = seen.weights.shape[0]
    if count < least:
        raise errors.ConfigError(
            f"{rule} with {arguments} needs m >= {condition} = {least} updates a round, but the"
            f" cohort has m = {count}; enlarge the cohort or assume fewer attackers."
        )
