"""Restart: the first time a rule finds anybody, training begins again without them."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from fl_jax.core import errors, tree
from fl_jax.core.types import Array, Bool, PyTree
from fl_jax.federated.aggregators.base import Aggregator, Stacked, as_stacked, senders_of, sent_out


class Restart(NamedTuple):
    """The rule's state, where training began, the round's global model, and who is out."""

    rule: PyTree
    first: PyTree
    variables: PyTree
    out: Bool[Array, " participants"]


def restart(
    rule: Aggregator,
    *,
    participants: int,
    found: Callable[[PyTree], Bool[Array, " participants"]],
) -> Aggregator:
    """The rule until it finds somebody, then from the first model once more without whom it found.

    In the round of the first find, the step is returned that leads back to the model that `init`
    was given, for a server that adds it as it is; the rule's memory begins afresh. From then on
    the updates of those who were found weigh nothing. It happens once: whom the rule finds later it
    treats as it treats them by itself.

    Args:
        rule: how updates become one step.
        participants: n.
        found: (the rule's state after a round) -> who is malicious.

    Raises:
        ConfigError: participants not positive; updates without ids from fewer than n (when the
            round is traced).

    References:
        Zhang, Cao, Jia, Gong 2022, "FLDetector: Defending Federated Learning Against Model
        Poisoning Attacks via Detecting Malicious Clients" (what follows a detection).
    """
    errors.whole("participants", participants, least=1)
    rule = as_stacked(rule)

    def init(variables):
        nobody = jnp.zeros(participants, bool)
        return Restart(rule.init(variables), variables, tree.zeros_like(variables), nobody)

    def begin(variables, state, key):
        begun = rule.begin(variables, state.rule, key)
        return state._replace(rule=begun, variables=sent_out(rule, variables, begun))

    def broadcast(variables, state: Restart):
        return rule.broadcast(variables, state.rule)

    def without(seen: Stacked, out):
        stays = ~out[senders_of("restarting", seen, participants)]
        there = lambda a: jnp.where(stays.reshape(-1, *[1] * (a.ndim - 1)), a, 0)
        weights = jnp.where(stays, seen.weights, 0)
        return seen._replace(updates=jax.tree.map(there, seen.updates), weights=weights)

    def update(seen: Stacked, state: Restart):
        step, own = rule.update(without(seen, state.out), state.rule)
        caught = found(own)
        again = jnp.any(caught) & ~jnp.any(state.out)
        step = tree.where(again, tree.sub(state.first, state.variables), step)
        own = tree.where(again, rule.init(state.first), own)
        return step, state._replace(rule=own, out=jnp.where(again, caught, state.out))

    def score(update, others: Stacked, state: Restart):
        return rule.score(update, without(others, state.out), state.rule)

    return rule._replace(
        init=init,
        begin=begin,
        broadcast=None if rule.broadcast is None else broadcast,
        update=update,
        score=None if rule.score is None else score,
        properties=rule.properties & {"permutation"},
    )
