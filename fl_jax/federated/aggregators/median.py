"""Coordinate-wise median."""

import jax
import jax.numpy as jnp

from fl_jax.federated.aggregators.base import Aggregator, Stacked, stateless


def median() -> Aggregator:
    """The median of every coordinate over the round's updates, dropped ones left out.

    Weights beyond "arrived or not" are ignored, as in the original.

    References:
        Yin et al. 2018, "Byzantine-Robust Distributed Learning", Definition 1.
    """

    def update(seen: Stacked, state):
        arrived = seen.weights > 0
        count = jnp.sum(arrived)

        def coordinate(leaf):
            shape = (-1, *[1] * (leaf.ndim - 1))
            # Dropped updates sort behind all others; the middle is taken among those in front.
            ordered = jnp.sort(jnp.where(arrived.reshape(shape), leaf, jnp.inf), axis=0)
            low = ordered[jnp.maximum((count - 1) // 2, 0)]
            high = ordered[count // 2]
            return jnp.where(count > 0, (low + high) / 2, jnp.zeros_like(low))

        return jax.tree.map(coordinate, seen.updates), state

    return Aggregator(stateless, update, sees=Stacked)
