"""Agglomerative clustering of the few points of a round: the nearest clusters merge until two
are left."""

import jax
import jax.numpy as jnp

from fl_jax.core.types import Array, Bool, Float


def two(
    distances: Float[Array, "count count"], among: Bool[Array, " count"]
) -> Bool[Array, "count count"]:
    """Who is in one cluster with whom once there are two; who is not among is alone.

    Average linkage: the distance of two clusters is the mean over their pairs of points.

    Args:
        distances: symmetric, finite.
        among: which points count; one or two of them are clusters of their own.

    References:
        Sokal, Michener 1958, "A statistical method for evaluating systematic relationships"
        (UPGMA).
    """
    size = distances.shape[0]
    places = jnp.arange(size)

    def merge(_, found):
        """Every cluster stands at its first point; the others' rows mean nothing any more."""
        apart, owner, weight, heads = found
        usable = heads[:, None] & heads[None, :] & (places[:, None] < places[None, :])
        best = jnp.argmin(jnp.where(usable, apart, jnp.inf))
        i, j = best // size, best % size
        go = jnp.sum(heads) > 2
        row = (weight[i] * apart[i] + weight[j] * apart[j]) / (weight[i] + weight[j])
        joined = apart.at[i, :].set(row).at[:, i].set(row)
        return (
            jnp.where(go, joined, apart),
            jnp.where(go & (owner == j), i, owner),
            jnp.where(go, weight.at[i].add(weight[j]), weight),
            jnp.where(go, heads.at[j].set(False), heads),
        )

    start = (distances, places, jnp.ones(size, distances.dtype), among)
    _, owner, _, _ = jax.lax.fori_loop(0, max(size - 2, 0), merge, start)
    both = among[:, None] & among[None, :]
    return ((owner[:, None] == owner[None, :]) & both) | jnp.eye(size, dtype=bool)


def larger(
    distances: Float[Array, "count count"], among: Bool[Array, " count"]
) -> Bool[Array, " count"]:
    """The members of the larger one of `two`; of equal halves, the one that is closer together."""
    same = two(distances, among)
    sizes = jnp.where(among, jnp.sum(same, axis=1), 0)
    within = jnp.sum(jnp.where(same, distances, 0.0), axis=1)
    spread = same.astype(distances.dtype) @ within  # of the whole cluster, at each member
    first = jnp.argmin(jnp.where(sizes == jnp.max(sizes), spread, jnp.inf))
    return same[first] & among
