"""Anomaly detection on the updates of a round: a score for each, higher = more suspicious.

The detectors that the backdoor paper evades or hides from by secure aggregation. Hand one of
these functions, or `inspect`, to `round.make(inspect=...)`.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from fl_jax.core import tree
from fl_jax.core.types import Array, Float, PyTree
from fl_jax.federated.aggregators.base import Stacked
from fl_jax.federated.statistics import gram
from fl_jax.federated.statistics import norms as lengths


def norms(seen: Stacked) -> Float[Array, " cohort"]:
    """||D_i||."""
    return lengths.of_each(seen.updates)


def cosine(seen: Stacked) -> Float[Array, " cohort"]:
    """1 - cos(D_i, mean of the others)."""
    there = (seen.weights > 0).astype(jnp.float32)
    updates = tree.wide(seen.updates)
    total = gram.combine(there, updates)

    def one(update, here):
        return 1 - tree.cosine(update, tree.sub(total, tree.scale(here, update)))

    return jax.vmap(one)(updates, there)


def distance(seen: Stacked) -> Float[Array, " cohort"]:
    """Mean distance to the others of the round."""
    there = (seen.weights > 0).astype(jnp.float32)
    apart = jnp.sqrt(gram.pairwise(seen.updates)) * there[None, :]
    return jnp.sum(apart, axis=1) / jnp.maximum(jnp.sum(there) - 1, 1)


def distance_rank(seen: Stacked) -> Float[Array, " cohort"]:
    """The share of the round's updates that lie no further from the others, in (0, 1].

    1 is the one furthest away. A rank does not know how far, so that rounds early and late in
    training, whose updates differ in length, can be held against one threshold.
    """
    there = (seen.weights > 0).astype(jnp.float32)
    away = distance(seen)
    below = (away[None, :] <= away[:, None]).astype(jnp.float32) * there[None, :]
    return jnp.sum(below, axis=1) / jnp.maximum(jnp.sum(there), 1)


def clusters(
    seen: Stacked, select: Callable[[PyTree], PyTree] = lambda update: update
) -> Float[Array, " cohort"]:
    """Distance to the centre of the larger of two clusters of the selected part (Auror).

    k-means from the two updates that lie furthest apart, on inner products alone.

    References:
        Shen, Tople, Saxena 2016, "Auror: Defending against Poisoning Attacks in Collaborative
        Deep Learning Systems" (on the last layer: the backdoor paper, section 6).
    """
    there = (seen.weights > 0).astype(jnp.float32)
    products = gram.gram(jax.vmap(select)(seen.updates))
    apart = gram.distances(products) * there[:, None] * there[None, :]
    squares = jnp.diagonal(products)
    size = apart.shape[0]
    first, second = jnp.unravel_index(jnp.argmax(apart), apart.shape)

    def to_centre(members):
        """||x_i - c||^2 with c the mean of the members."""
        share = members / jnp.maximum(jnp.sum(members), 1)
        along = products @ share
        return jnp.maximum(squares - 2 * along + share @ along, 0.0)

    def lloyd(_, inside):
        nearer = to_centre(inside) <= to_centre(there * (1 - inside))
        return nearer.astype(jnp.float32) * there

    start = (apart[:, first] <= apart[:, second]).astype(jnp.float32) * there
    inside = jax.lax.fori_loop(0, size, lloyd, start)
    larger = jnp.where(2 * jnp.sum(inside) >= jnp.sum(there), inside, there * (1 - inside))
    return jnp.sqrt(to_centre(larger))


def inspect(
    select: Callable[[PyTree], PyTree] = lambda update: update,
) -> Callable[[Stacked], dict[str, Array]]:
    """All of them by name, for `round.make(inspect=...)`; `select` takes the last layer."""

    def run(seen: Stacked) -> dict[str, Array]:
        return {
            "norm": norms(seen),
            "cosine": cosine(seen),
            "distance": distance(seen),
            "distance rank": distance_rank(seen),
            "last-layer clusters": clusters(seen, select),
        }

    return run
