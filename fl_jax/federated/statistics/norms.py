"""Lengths: the mean of some updates clipped to a bound, and how far an update is beyond it."""

import jax
import jax.numpy as jnp

from fl_jax.core import tree
from fl_jax.core.types import Array, Bool, Float, PyTree
from fl_jax.federated.statistics import gram


def of_each(updates: PyTree) -> Float[Array, " cohort"]:
    """||x_i||."""
    return jax.vmap(tree.norm)(updates)


def clipped_mean(
    updates: PyTree,
    chosen: Bool[Array, " cohort"],
    norms: Float[Array, " cohort"],
    bound: Float[Array, ""],
) -> PyTree:
    """The mean of x_i min(1, bound / ||x_i||) over the chosen; 0 where nobody is."""
    clip = jnp.minimum(1.0, bound / jnp.maximum(norms, 1e-30))
    left = jnp.maximum(jnp.sum(chosen), 1).astype(jnp.float32)
    return gram.combine(jnp.where(chosen, clip, 0.0) / left, updates)


def beyond(update: PyTree, bound: Float[Array, ""]) -> Float[Array, ""]:
    """What ||x|| is beyond the bound, in bounds: max(0, ||x|| / bound - 1)."""
    return jax.nn.relu(tree.norm(update) / jnp.maximum(bound, 1e-30) - 1)
