"""DnC (divide and conquer): what sticks out along the direction of largest spread is dropped."""

import math

import jax
import jax.numpy as jnp

from fl_jax.core import errors, tree
from fl_jax.core.types import Array, Bool, Float
from fl_jax.federated.aggregators.base import (
    Aggregator,
    Keyed,
    Stacked,
    drawing,
    needs,
    only_if,
)
from fl_jax.federated.statistics import coordinates, gram, principal


def projections(
    rows: Float[Array, "cohort count"], arrived: Bool[Array, " cohort"]
) -> Float[Array, " cohort"]:
    """<x_i - mu, v>^2 with v the top right singular vector of the centred rows; 0 of the absent."""
    there = arrived.astype(jnp.float32)
    centre = there @ rows / jnp.maximum(jnp.sum(there), 1.0)
    away = (rows - centre[None, :]) * there[:, None]
    return jnp.square(principal.places(gram.gram(away), 1)[:, 0])


def dnc(
    *, attackers: int, filtered: float = 1.0, iterations: int = 1, count: int = 10_000
) -> Aggregator:
    """The mean of the updates that survive `iterations` of: draw coordinates, centre, project on
    the top right singular vector, drop the c f with the largest squared projection.

    A round in which fewer than 2f + 1 arrive, or nobody survives, moves nothing.

    Args:
        attackers: f, how many of a round's updates may be malicious.
        filtered: c, > 0; c f, rounded up, are dropped in each iteration.
        iterations: how often coordinates are drawn; survivors of all of them count.
        count: b, coordinates an iteration; all of them where the model has no more.

    Raises:
        ConfigError: a number out of its range, or m < 2f + 1 (when the round is traced).

    References:
        Shejwalkar, Houmansadr 2021, "Manipulating the Byzantine: Optimizing Model Poisoning
        Attacks and Defenses for Federated Learning", Algorithm 2.
    """
    errors.whole("attackers (f)", attackers)
    errors.positive("the filtered share of the attackers (c)", filtered)
    errors.whole("iterations of DnC", iterations, least=1)
    errors.whole("coordinates of DnC (b)", count, least=1)
    dropped = math.ceil(filtered * attackers - 1e-9)

    def update(seen: Stacked, state: Keyed):
        needs("DnC", seen, 2 * attackers + 1, "2f + 1", f"f = {attackers}")
        arrived = seen.weights > 0
        size = tree.size(seen.updates) // arrived.shape[0]

        def survivors(key):
            rows = coordinates.take(seen.updates, coordinates.choose(key, size, count))
            sizes = jnp.where(arrived, projections(rows, arrived), jnp.inf)
            rank = jnp.argsort(jnp.argsort(sizes))
            return (rank < jnp.sum(arrived) - dropped) & arrived

        kept = jnp.all(jax.lax.map(survivors, jax.random.split(state.key, iterations)), axis=0)
        left = jnp.sum(kept)
        share = kept.astype(jnp.float32) / jnp.maximum(left, 1).astype(jnp.float32)
        enough = (jnp.sum(arrived) >= 2 * attackers + 1) & (left > 0)
        return only_if(enough, gram.combine(share, seen.updates)), state

    def score(update, others: Stacked, state: Keyed):
        """The squared projection that this update would get beside the others."""
        key = jax.random.split(state.key, iterations)[0]
        index = coordinates.choose(key, tree.size(update), count)
        own = coordinates.take(jax.tree.map(lambda a: a[None], update), index)[0]
        rows = coordinates.take(others.updates, index)
        return principal.distance(own, rows, others.weights > 0, 1)

    properties = {"permutation", "equal", "translation", "scale"}
    return drawing(update, score, frozenset(properties | ({"outlier"} if attackers else set())))
