"""Random coordinates: rules that judge updates by a part of them, drawn anew in every round."""

import jax
import jax.numpy as jnp

from fl_jax.core.types import Array, Float, Int, Key, PyTree


def choose(key: Key[Array, ""], size: int, count: int) -> Int[Array, " count"]:
    """`count` different ones of `size` coordinates, every set as likely; all of them if it asks
    for as many."""
    if count >= size:
        return jnp.arange(size)
    return jax.lax.top_k(jax.random.uniform(key, (size,)), count)[1]


def take(updates: PyTree, index: Int[Array, " count"]) -> Float[Array, "cohort count"]:
    """These coordinates of every update, in the order of `jax.tree.leaves`; no copy of the rest."""
    leaves = jax.tree.leaves(updates)
    out = jnp.zeros((leaves[0].shape[0], index.shape[0]), jnp.float32)
    at = 0
    for leaf in leaves:
        flat = leaf.reshape(leaf.shape[0], -1)
        size = flat.shape[1]
        here = (index >= at) & (index < at + size)
        picked = flat[:, jnp.clip(index - at, 0, size - 1)]
        out = jnp.where(here[None, :], picked.astype(jnp.float32), out)
        at += size
    return out
