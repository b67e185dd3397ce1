"""Sharing fewer gradients: what of its update a participant sends.

References:
    Shokri and Shmatikov 2015, "Privacy-Preserving Deep Learning"; Melis et al. 2019, section
    VIII-A.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from fl_jax.core import errors
from fl_jax.core.types import Array, Key, PyTree

Share = Callable[[PyTree, Key[Array, ""]], PyTree]


def everything() -> Share:
    """The update as it is."""
    return lambda update, key: update


def largest(portion: float) -> Share:
    """The entries of largest magnitude over the whole update, the rest zero.

    Args:
        portion: of all entries that is sent, in (0, 1]; ties at the threshold are sent too.
    """
    _check(portion)

    def share(update, key):
        del key
        flat = jnp.concatenate([jnp.abs(leaf).reshape(-1) for leaf in jax.tree.leaves(update)])
        count = max(round(portion * flat.shape[0]), 1)
        threshold = jnp.sort(flat)[flat.shape[0] - count]
        return jax.tree.map(
            lambda leaf: jnp.where(jnp.abs(leaf) >= threshold, leaf, jnp.zeros_like(leaf)), update
        )

    return share


def random(portion: float) -> Share:
    """Each entry with this probability, the rest zero; participants draw apart."""
    _check(portion)

    def share(update, key):
        leaves, form = jax.tree.flatten(update)
        keys = jax.random.split(jax.random.fold_in(key, 0x5A), len(leaves))
        kept = [
            jnp.where(jax.random.bernoulli(k, portion, leaf.shape), leaf, jnp.zeros_like(leaf))
            for k, leaf in zip(keys, leaves, strict=True)
        ]
        return jax.tree.unflatten(form, kept)

    return share


def make(kind: str, portion: float) -> Share:
    """`everything`, `largest` or `random`."""
    errors.one_of("sharing", kind, ("everything", "largest", "random"))
    if kind == "everything":
        return everything()
    return {"largest": largest, "random": random}[kind](portion)


def _check(portion: float) -> None:
    if not 0 < portion <= 1:
        raise errors.ConfigError(f"the portion that is shared lies in (0, 1], got {portion}.")
