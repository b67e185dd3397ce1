"""HDBSCAN* on the few points of a round, without a tree in memory."""

import jax
import jax.numpy as jnp

from fl_jax.core.types import Array, Bool, Float

FLAT = 1e-6  # of the largest height: below it, heights count as equal to it


def minimax(distances: Float[Array, "count count"]) -> Float[Array, "count count"]:
    """The least threshold at which two points hang together: the largest step of the path between
    them whose largest step is least. Infinite distances are no steps."""

    def through(k, u):
        return jnp.minimum(u, jnp.maximum(u[:, k][:, None], u[k, :][None, :]))

    return jax.lax.fori_loop(0, distances.shape[0], through, distances)


def together(
    distances: Float[Array, "count count"], among: Bool[Array, " count"], smallest: int
) -> Bool[Array, "count count"]:
    """Who is in one cluster with whom; a point in none (noise) is alone, as is who is not among.

    Components of single linkage are followed from the lowest height to the top. One with
    `smallest` points is a cluster, until it meets another cluster: then its stability is
    sum_p (1/h_p - 1/h), with h_p the height at which a point came to it and h the one of the
    meeting. The clusters that are given are those whose stabilities have the largest sum; the
    whole is none. min_samples is 1: distances are taken as they are. All that meets at one height
    meets at once, so that the order of the points does not matter.

    Args:
        distances: symmetric, >= 0.
        among: which points count.
        smallest: points of a cluster, at least 2.

    References:
        Campello, Moulavi, Sander 2013, "Density-Based Clustering Based on Hierarchical Density
        Estimates".
    """
    size = distances.shape[0]
    own = jnp.eye(size, dtype=bool)
    both = among[:, None] & among[None, :]
    linked = jnp.where(own, 0.0, minimax(jnp.where(both & ~own, distances, jnp.inf)))
    # Where each point comes to those before it: the heights of all meetings.
    earlier = jnp.tril(jnp.ones((size, size), bool), -1)
    heights = jnp.sort(jnp.min(jnp.where(earlier, linked, jnp.inf), axis=1))
    top = jnp.max(jnp.where(jnp.isfinite(heights), heights, 0.0))
    floor = jnp.maximum(FLAT * top, 1e-30)

    def meet(level, found):
        """Every quantity stands at all points of a component."""
        inside, count, gain, best, chosen = found
        height = heights[level]
        now = (linked <= height) & jnp.isfinite(linked)
        density = 1 / jnp.maximum(height, floor)
        first = jnp.argmax(inside, axis=1) == jnp.arange(size)  # one of each old component
        cluster = count >= smallest
        stability = gain - count * density
        enough = 1e-5 * gain
        taken = cluster & (stability >= best - enough) & (stability > enough)
        value = jnp.where(taken, stability, best)

        over = lambda values: now.astype(gain.dtype) @ jnp.where(first & cluster, values, 0.0)
        clusters, members = over(jnp.ones(size)), jnp.sum(now, axis=1).astype(gain.dtype)
        alone = jnp.where(members >= smallest, members * density, 0.0)
        grown = over(gain) + (members - over(count)) * density
        new_gain = jnp.where(clusters == 1, grown, alone)
        new_best = jnp.where(clusters == 1, over(best), over(value))
        ends = (clusters > 1) & taken
        new_chosen = jnp.where(ends[:, None], inside, chosen)
        same = members == count
        keep = lambda old, new: jnp.where(same.reshape(-1, *[1] * (old.ndim - 1)), old, new)
        return (
            now,
            members,
            keep(gain, new_gain),
            keep(best, new_best),
            keep(chosen, new_chosen),
        )

    zeros = jnp.zeros(size, distances.dtype)
    start = (own, jnp.ones(size, distances.dtype), zeros, zeros, own)
    return jax.lax.fori_loop(0, size - 1, meet, start)[-1]
