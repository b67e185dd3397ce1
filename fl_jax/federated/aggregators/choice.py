"""One of several rules, chosen by a number in the state: a grid of defences is one program."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from fl_jax.core import errors
from fl_jax.core.types import Array, Int, PyTree
from fl_jax.federated.aggregators.base import Aggregator, Stacked, as_stacked, sent_out
from fl_jax.federated.defences.base import Defence


class Chosen(NamedTuple):
    """Which rule acts, and what each remembers."""

    index: Int[Array, ""]
    states: tuple[PyTree, ...]


def choice(rules: Sequence[Aggregator]) -> Aggregator:
    """The rule number `state.index` of these; set it with `state._replace(index=...)`.

    Only the chosen rule runs (`lax.switch`), as long as the index is not mapped over; all of
    them see the stack of updates.
    """
    if not rules:
        raise errors.ConfigError("a choice of aggregators needs at least one.")
    stacked = [as_stacked(rule) for rule in rules]
    by_examples = any(rule.weight == "examples" for rule in rules)

    def weighed(rule, seen: Stacked) -> Stacked:
        if rule.weight == "examples" or not by_examples:
            return seen
        return seen._replace(weights=(seen.weights > 0).astype(seen.weights.dtype))

    def init(variables):
        return Chosen(jnp.zeros((), jnp.int32), tuple(rule.init(variables) for rule in stacked))

    def begin(variables, state, key):
        def branch(i):
            def run(states):
                new = stacked[i].begin(variables, states[i], key)
                return (*states[:i], new, *states[i + 1 :])

            return run

        branches = [branch(i) for i in range(len(stacked))]
        return Chosen(state.index, jax.lax.switch(state.index, branches, state.states))

    def broadcast(variables, state):
        def branch(i):
            return lambda variables, states: sent_out(stacked[i], variables, states[i])

        branches = [branch(i) for i in range(len(stacked))]
        return jax.lax.switch(state.index, branches, variables, state.states)

    def update(seen: Stacked, state):
        def branch(i):
            def run(seen, states):
                out, new = stacked[i].update(weighed(stacked[i], seen), states[i])
                return out, (*states[:i], new, *states[i + 1 :])

            return run

        branches = [branch(i) for i in range(len(stacked))]
        out, states = jax.lax.switch(state.index, branches, seen, state.states)
        return out, Chosen(state.index, states)

    def score(update, others: Stacked, state):
        def branch(i):
            rule = stacked[i]
            if rule.score is None:
                return lambda update, others, states: jnp.float32(0)
            return lambda update, others, states: rule.score(
                update, weighed(rule, others), states[i]
            )

        branches = [branch(i) for i in range(len(stacked))]
        return jax.lax.switch(state.index, branches, update, others, state.states)

    return Aggregator(
        init,
        update,
        Stacked,
        "examples" if by_examples else "uniform",
        begin=begin,
        broadcast=None if all(rule.broadcast is None for rule in rules) else broadcast,
        score=score,
        separation=max(rule.separation for rule in rules),
        memory="gram",
    )


class Guarded(NamedTuple):
    """A rule's state, its defence's state, and the key of the defence's noise."""

    rule: PyTree
    defence: PyTree
    key: Array


def guarded(rule: Aggregator, defence: Defence) -> Aggregator:
    """The rule with a defence (norm clipping, noise) before and after it, as one rule."""

    def init(variables):
        return Guarded(rule.init(variables), defence.init(variables), jax.random.key(0))

    def begin(variables, state, key):
        own, noise = jax.random.split(key)
        return Guarded(rule.begin(variables, state.rule, own), state.defence, noise)

    def broadcast(variables, state):
        return rule.broadcast(variables, state.rule)

    def arrive(update, state):
        update = defence.client(update, state.defence)
        if rule.arrive is not None:
            return rule.arrive(update, state.rule)
        return update, jnp.float32(1)

    def update(seen, state):
        out, own = rule.update(seen, state.rule)
        out, defended = defence.server(out, state.defence, state.key)
        return out, Guarded(own, defended, state.key)

    score = None
    if defence.score is not None or rule.score is not None:

        def score(update, others, state):
            total = jnp.float32(0)
            if defence.score is not None:
                total += defence.score(update, state.defence)
            if rule.score is not None:
                total += rule.score(update, others, state.rule)
            return total

    return rule._replace(
        init=init,
        begin=begin,
        broadcast=None if rule.broadcast is None else broadcast,
        arrive=arrive,
        update=update,
        score=score,
        properties=frozenset({"permutation"}),
    )
