"""The step that every system trains by: loss, gradient, update; pure and unbatched.

It is lifted by its caller: `vmap` over shadow models or seeds, `scan` over steps, `jit` with
shardings over a mesh.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from fl_jax.core import tree
from fl_jax.core.types import Array, Float, Key, PyTree
from fl_jax.train.state import StepInfo, TrainState, Variables

# (variables, batch, key) -> (loss, (new batch_stats, metrics))
Loss = Callable[[Variables, Any, Any], tuple[Float[Array, ""], tuple[PyTree, PyTree]]]


def gradient(loss: Loss, variables: Variables, batch: PyTree, key: Key[Array, ""]):
    """((loss, (batch_stats, metrics)), gradient with respect to the parameters)."""

    def of_params(params):
        return loss(variables._replace(params=params), batch, key)

    return jax.value_and_grad(of_params, has_aux=True)(variables.params)


def descend(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    variables: Variables,
    opt_state: optax.OptState,
    batch: PyTree,
    key: Key[Array, ""],
):
    """One bare optimizer step, as the inner loop of a client: no guard, nothing counted.

    Returns:
        (variables, opt_state, loss).
    """
    (value, (batch_stats, _)), grads = gradient(loss, variables, batch, key)
    updates, opt_state = optimizer.update(grads, opt_state, variables.params)
    params = optax.apply_updates(variables.params, updates)
    return Variables(params, batch_stats), opt_state, value


def make(loss: Loss, optimizer: optax.GradientTransformation):
    """The guarded training step.

    Args:
        loss: (variables, batch, key) -> (scalar, (batch_stats, metrics)).
        optimizer: from `train.optimizer.make`, or any optax transformation.

    Returns:
        step(state: TrainState, batch, key) -> (TrainState, StepInfo). Where the loss, the
        gradient or what the update would leave is not finite, the update is not applied: the state
        keeps its variables and optimizer, and counts it.
    """

    def step(state: TrainState, batch: PyTree, key: Key[Array, ""]):
        (value, (batch_stats, metrics)), grads = gradient(loss, state.variables, batch, key)
        with jax.named_scope("optimizer"):
            updates, opt_state = optimizer.update(grads, state.optimizer, state.variables.params)
            params = optax.apply_updates(state.variables.params, updates)
        grad_norm = tree.norm(grads)
        finite = jnp.isfinite(value) & jnp.isfinite(grad_norm)
        finite &= tree.all_finite((params, batch_stats))
        old = (state.variables, state.optimizer)
        variables, opt_state = tree.where(finite, (Variables(params, batch_stats), opt_state), old)
        bad = (~finite).astype(jnp.int32)
        new = TrainState(
            step=state.step + 1 - bad,
            variables=variables,
            optimizer=opt_state,
            skipped=state.skipped + bad,
            in_a_row=(state.in_a_row + bad) * bad,
        )
        return new, StepInfo(value, grad_norm, finite, metrics)

    return step
