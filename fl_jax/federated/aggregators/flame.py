"""FLAME: cluster by direction, clip to the median norm, add a little noise."""

import jax.numpy as jnp

from fl_jax.core import errors, tree
from fl_jax.core.types import Array, Bool, Float
from fl_jax.federated.aggregators.base import Aggregator, Stacked, drawing
from fl_jax.federated.statistics import gram, hdbscan
from fl_jax.federated.statistics import norms as lengths


def majority(
    distances: Float[Array, "cohort cohort"], arrived: Bool[Array, " cohort"]
) -> Bool[Array, " cohort"]:
    """The cluster that HDBSCAN finds when no cluster may be smaller than half of the points.

    At that size (count // 2 + 1) there is only one, and it is the first component of single
    linkage that grows so large. The threshold at which two points come together is the minimax
    distance of the paths between them, so that no tree is needed. min_samples is 1: distances
    are taken as they are.

    Args:
        distances: symmetric, with zeros on the diagonal.
        arrived: which points count.

    References:
        Campello, Moulavi, Sander 2013 (HDBSCAN*); Nguyen et al. 2022, section 4.2 (its use).
    """
    both = arrived[:, None] & arrived[None, :]
    size = distances.shape[0]
    linked = hdbscan.minimax(jnp.where(both, distances, jnp.inf))
    linked = jnp.where(jnp.eye(size, dtype=bool) & both, 0.0, linked)
    wanted = jnp.sum(arrived) // 2 + 1
    # The threshold at which the component of each point holds `wanted` points.
    reached = jnp.sort(linked, axis=1)[:, jnp.minimum(wanted - 1, size - 1)]
    first = jnp.argmin(reached)
    return (linked[first] <= reached[first]) & arrived


def flame(*, noise: float = 1e-3) -> Aggregator:
    """The mean of the majority's updates, clipped to the median norm S, plus N(0, (lambda S)^2).

    The cosines are those of the updates: between whole models, as the paper writes it, they
    differ from 1 only behind the seventh digit once training has converged.

    Args:
        noise: lambda; 0 adds none. About 1e-3 for images.

    References:
        Nguyen et al. 2022, "FLAME: Taming Backdoors in Federated Learning", Algorithm 1.
    """
    errors.not_negative("the noise of FLAME", noise)

    def update(seen: Stacked, state):
        arrived = seen.weights > 0
        products = gram.gram(seen.updates)
        apart = 1 - gram.cosines(products)
        chosen = majority(jnp.where(jnp.eye(len(apart), dtype=bool), 0.0, apart), arrived)
        norms = jnp.sqrt(jnp.maximum(jnp.diagonal(products), 0.0))
        bound = gram.median_of(norms, arrived)
        out = lengths.clipped_mean(seen.updates, chosen, norms, bound)
        if noise:
            out = tree.add(out, tree.normal(state.key, out, noise * bound))
        return out, state

    def score(update, others: Stacked, state):
        """Mean cosine distance to the others, plus what is longer than their median norm."""
        del state
        there = others.weights > 0
        bound = gram.median_of(lengths.of_each(others.updates), there)
        return gram.apart(update, others.updates, there) + lengths.beyond(update, bound)

    # With equal updates it returns them, but for the noise.
    properties = frozenset({"permutation", "scale"} | ({"equal"} if not noise else set()))
    return drawing(update, score, properties)
