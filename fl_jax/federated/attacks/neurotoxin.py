"""Neurotoxin: a backdoor in the parameters that benign training leaves alone."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from fl_jax.core import errors, tree
from fl_jax.core.types import PyTree
from fl_jax.federated.attacks.base import Attack, View
from fl_jax.federated.attacks.constrain_and_scale import constrain_and_scale
from fl_jax.train import step
from fl_jax.train.state import Variables


class Seen(NamedTuple):
    """The global model of the round before, and how it moved since."""

    variables: Variables
    moved: Variables


def quiet(moved: PyTree, share: float) -> PyTree:
    """1 for parameters outside the `share` of the largest |moved|, 0 for those in it.

    What has not moved is outside, also where less than `share` has.
    """
    sizes = jax.tree.map(jnp.abs, tree.wide(moved))
    flat = jnp.concatenate([a.reshape(-1) for a in jax.tree.leaves(sizes)])
    top = max(1, round(share * flat.size))
    least = jax.lax.top_k(flat, top)[0][-1]
    return tree.cast(jax.tree.map(lambda a: (a < least) | (a == 0), sizes), moved)


def neurotoxin(
    loss: step.Loss, optimizer: optax.GradientTransformation, *, share: float = 0.05, **settings
) -> Attack:
    """As `constrain_and_scale`, moving only parameters that the last global update moved little.

    Args:
        share: k, part of the parameters with the largest last update, which are left alone; the
            paper takes 0.01 to 0.1.
        settings: of `constrain_and_scale`.

    References:
        Zhang et al. 2022, "Neurotoxin: Durable Backdoors in Federated Learning", Algorithm 1.
    """
    if not 0 < share < 1:
        raise errors.ConfigError(
            f"Neurotoxin's share must lie in (0, 1), got {share}; the paper takes 0.01 to 0.1."
        )

    def restrict(view: View, state: Seen):
        return quiet(state.moved.params, share)

    def observe(variables, state: Seen):
        return Seen(variables, tree.sub(variables, state.variables))

    attack = constrain_and_scale(loss, optimizer, restrict=restrict, **settings)
    init = lambda variables: Seen(variables, tree.zeros_like(variables))
    return attack._replace(init=init, observe=observe)
