"""Centred clipping: updates are clipped around the last aggregate instead of around zero."""

import jax
import jax.numpy as jnp

from fl_jax.core import errors, tree
from fl_jax.federated.aggregators.base import Aggregator, Stacked, Summed, average, summed


def _clip(update, centre, radius: float):
    """centre + (update - centre) min(1, tau / ||update - centre||)."""
    away = tree.sub(update, centre)
    factor = jnp.minimum(1.0, radius / jnp.maximum(tree.norm(away), 1e-30))
    return tree.add(centre, tree.scale(factor, away))


def centred_clip(*, radius: float, iterations: int = 1) -> Aggregator:
    """v <- v + (1/m) sum_i (x_i - v) min(1, tau / ||x_i - v||), v being last round's aggregate.

    With one iteration, as its authors run it, it is a running sum. A round in which nothing
    arrives keeps v and moves nothing.

    Args:
        radius: tau, in the norm of an update.
        iterations: >= 1.

    References:
        Karimireddy, He, Jaggi 2021, "Learning from History for Byzantine Robust Optimization",
        section 4.
    """
    errors.positive("radius", radius)
    errors.whole("iterations", iterations, least=1)

    def arrive(update, centre):
        return _clip(update, centre, radius), jnp.float32(1)

    def of_sum(seen: Summed, centre):
        mean = tree.cast(average(seen), centre)
        return mean, tree.where(seen.weight > 0, mean, centre)

    def of_stack(seen: Stacked, centre):
        def step(_, v):
            clipped = jax.vmap(lambda x: _clip(x, v, radius))(seen.updates)
            return tree.cast(average(summed(Stacked(clipped, seen.weights))), v)

        mean = jax.lax.fori_loop(0, iterations, step, centre)
        there = jnp.sum(seen.weights) > 0
        return tree.where(there, mean, tree.zeros_like(mean)), tree.where(there, mean, centre)

    def score(update, others: Stacked, centre):
        """How far outside the ball the update lies, in radii."""
        del others
        return jnp.maximum(tree.norm(tree.sub(update, centre)) / radius - 1, 0)

    streams = iterations == 1
    return Aggregator(
        lambda variables: tree.zeros_like(variables),
        of_sum if streams else of_stack,
        Summed if streams else Stacked,
        arrive=arrive if streams else None,
        score=score,
        memory="sum" if streams else "gram",
    )
