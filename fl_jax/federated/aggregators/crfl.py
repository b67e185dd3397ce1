"""CRFL: after any rule, the model itself is clipped and smoothed; at test, noisy models vote."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fl_jax.core import errors, tree
from fl_jax.core.types import Array, Float, Key, PyTree
from fl_jax.federated.aggregators.base import Aggregator, sent_out


class Smoothing(NamedTuple):
    """The rule's state, the round's global model, and the key of the noise."""

    rule: PyTree
    variables: PyTree
    key: Key[Array, ""]


def crfl(rule: Aggregator, *, bound: float, noise: float) -> Aggregator:
    """w' min(1, rho / ||w'||) + N(0, sigma^2), with w' the model that the rule leads to.

    The step is returned that leads there, for a server that adds it as it is. What comes out of
    training is then to be asked by `votes`.

    Args:
        rule: how updates become one step.
        bound: rho, > 0, of the norm of the whole model.
        noise: sigma, of a parameter.

    Raises:
        ConfigError: a number out of its range.

    References:
        Xie, Chen, Chen, Li 2021, "CRFL: Certifiably Robust Federated Learning against Backdoor
        Attacks", Algorithm 1. What its votes are certified against: `federated.certificate`.
    """
    errors.positive("the bound of CRFL (rho)", bound)
    errors.not_negative("the noise of CRFL (sigma)", noise)

    def init(variables):
        return Smoothing(rule.init(variables), tree.zeros_like(variables), jax.random.key(0))

    def begin(variables, state, key):
        own, drawn = jax.random.split(key)
        begun = rule.begin(variables, state.rule, own)
        return Smoothing(begun, sent_out(rule, variables, begun), drawn)

    def update(seen, state: Smoothing):
        out, own = rule.update(seen, state.rule)
        model = tree.add(state.variables, tree.cast(out, state.variables))
        model = tree.clip(model, bound)
        if noise:
            model = tree.add(model, tree.normal(state.key, model, noise))
        return tree.sub(model, state.variables), state._replace(rule=own)

    def inner(function):
        return None if function is None else lambda *a: function(*a[:-1], a[-1].rule)

    return rule._replace(
        init=init,
        begin=begin,
        broadcast=inner(rule.broadcast),
        update=update,
        arrive=inner(rule.arrive),
        score=inner(rule.score),
        properties=frozenset({"permutation"}),
    )


def votes(
    apply: Callable[[PyTree, Array | np.ndarray], Float[Array, "batch classes"]],
    variables: PyTree,
    x: Array | np.ndarray,
    key: Key[Array, ""],
    *,
    noise: float,
    draws: int,
) -> Float[Array, "batch classes"]:
    """The share of models, each with noise of its own, that choose each class: the smoothed
    classifier answers with the largest.

    Args:
        apply: (variables, x) -> logits, in test mode.
        noise: sigma of the last round.
        draws: models, 1 at least; the paper takes 1,000.

    Raises:
        ConfigError: a number out of its range.

    References:
        Xie et al. 2021, Algorithm 2.
    """
    errors.not_negative("the noise of CRFL (sigma)", noise)
    errors.whole("draws of CRFL's models", draws, least=1)

    def one(total, key):
        logits = apply(tree.add(variables, tree.normal(key, variables, noise)), x)
        return total + jax.nn.one_hot(jnp.argmax(logits, axis=-1), logits.shape[-1]), None

    shape = jax.eval_shape(apply, variables, x)
    total, _ = jax.lax.scan(one, jnp.zeros(shape.shape), jax.random.split(key, draws))
    return total / draws
