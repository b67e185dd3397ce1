"""ClippedClustering: of two clusters by direction the larger one, clipped to what is usual."""

from typing import NamedTuple

import jax.numpy as jnp

from fl_jax.core import errors
from fl_jax.core.types import Array, Bool, Float, Int
from fl_jax.federated.aggregators.base import Aggregator, Stacked
from fl_jax.federated.statistics import gram, linkage
from fl_jax.federated.statistics import norms as lengths


class Norms(NamedTuple):
    """The norms of the updates so far, in a ring: the newest take the place of the oldest."""

    values: Float[Array, " kept"]
    count: Int[Array, ""]  # that have come, also those that are gone


def remember(
    state: Norms, norms: Float[Array, " cohort"], arrived: Bool[Array, " cohort"]
) -> Norms:
    """With the norms that arrived."""
    kept = state.values.shape[0]
    place = (state.count + jnp.cumsum(arrived) - 1) % kept
    values = state.values.at[jnp.where(arrived, place, kept)].set(norms, mode="drop")
    return Norms(values, state.count + jnp.sum(arrived).astype(jnp.int32))


def usual(state: Norms) -> Float[Array, ""]:
    """The median of what is remembered; 0 where nothing is."""
    return gram.median_of(state.values, jnp.arange(state.values.shape[0]) < state.count)


def clipped_clustering(*, kept: int = 4096) -> Aggregator:
    """The mean of the larger of two clusters, clipped to the median of all norms so far.

    The clusters are those of average linkage on cosine distances, which clipping does not change.
    There are always two: without an attack the smaller one is lost. Of equal halves the one that
    is closer together is taken (the authors' code takes either). The norms of a round count in
    its own median. The authors keep all norms; here the last `kept` count.

    Args:
        kept: norms that are remembered, at least the cohort's.

    Raises:
        ConfigError: a number that is not positive, or fewer than a cohort's norms (when the round
            is traced).

    References:
        Li, Ngai, Voigt 2023, "An Experimental Study of Byzantine-Robust Aggregation Schemes in
        Federated Learning"; linkage and distance as in the authors' code (Blades).
    """
    errors.whole("norms that ClippedClustering keeps", kept, least=1)

    def init(variables):
        del variables
        return Norms(jnp.zeros(kept, jnp.float32), jnp.zeros((), jnp.int32))

    def update(seen: Stacked, state: Norms):
        arrived = seen.weights > 0
        if arrived.shape[0] > kept:
            raise errors.ConfigError(
                f"ClippedClustering keeps {kept} norms, but {arrived.shape[0]} updates come in a"
                f" round; give `kept` of at least the cohort."
            )
        products = gram.gram(seen.updates)
        norms = jnp.sqrt(jnp.maximum(jnp.diagonal(products), 0.0))
        after = remember(state, norms, arrived)
        chosen = linkage.larger(1 - gram.cosines(products), arrived)
        return lengths.clipped_mean(seen.updates, chosen, norms, usual(after)), after

    def score(update, others: Stacked, state: Norms):
        """Mean cosine distance to the others, plus what is longer than the usual norm."""
        there = others.weights > 0
        bound = usual(remember(state, lengths.of_each(others.updates), there))
        return gram.apart(update, others.updates, there) + lengths.beyond(update, bound)

    return Aggregator(init, update, Stacked, score=score, memory="gram")
