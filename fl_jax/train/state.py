"""State is what a checkpoint holds and the next step needs; info is what is only reported."""

from typing import NamedTuple

import jax.numpy as jnp
import optax

from fl_jax.core import tree
from fl_jax.core.types import Array, Bool, Float, Int, PyTree


class Variables(NamedTuple):
    """A network's arrays: what gradients move, and what the forward pass itself updates."""

    params: PyTree
    batch_stats: PyTree  # running means and variances; {} where there are none


class TrainState(NamedTuple):
    """Everything the next step needs."""

    step: Int[Array, ""]  # updates applied so far
    variables: Variables
    optimizer: optax.OptState
    skipped: Int[Array, ""]  # updates skipped so far because they were not finite
    in_a_row: Int[Array, ""]  # of these, how many since the last good step


class StepInfo(NamedTuple):
    """What a step reports."""

    loss: Float[Array, ""]
    grad_norm: Float[Array, ""]
    finite: Bool[Array, ""]  # False: the update was skipped
    metrics: PyTree  # whatever else the loss returned


def init(variables: Variables, optimizer: optax.GradientTransformation) -> TrainState:
    """The state before the first step."""
    zero = lambda: jnp.zeros((), jnp.int32)
    start = TrainState(zero(), variables, optimizer.init(variables.params), zero(), zero())
    return tree.apart(start)  # the optimizer's state may begin with the parameters
