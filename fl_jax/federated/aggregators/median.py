"""Coordinate-wise median and trimmed mean."""

import jax.numpy as jnp

from fl_jax.core import errors, tree
from fl_jax.federated.aggregators.base import Aggregator, Stacked, needs, only_if, stateless
from fl_jax.federated.statistics import ordered

ROBUST = frozenset({"permutation", "equal", "translation", "scale", "outlier"})


def median() -> Aggregator:
    """The median of every coordinate over the round's updates, dropped ones left out.

    Weights beyond "arrived or not" are ignored, as in the original.

    References:
        Yin et al. 2018, "Byzantine-Robust Distributed Learning", Definition 1.
    """

    def update(seen: Stacked, state):
        arrived = seen.weights > 0
        return ordered.coordinatewise(ordered.middle, seen.updates, arrived), state

    def score(update, others: Stacked, state):
        """Squared distance to the others' median."""
        del state
        centre = ordered.coordinatewise(ordered.middle, others.updates, others.weights > 0)
        return tree.squared_norm(tree.sub(update, centre))

    return Aggregator(
        stateless, update, Stacked, score=score, memory="coordinates", properties=ROBUST
    )


def trimmed_mean(*, trim: int) -> Aggregator:
    """The mean of every coordinate without its `trim` largest and `trim` smallest values.

    A round in which 2 trim or fewer arrive moves nothing.

    Args:
        trim: beta, values dropped on each side, >= 0 and below half of the cohort.

    Raises:
        ConfigError: trim no whole number of 0 or more, or 2 trim >= m (when the round is traced).

    References:
        Yin et al. 2018, Definition 2 (beta there is the share trim / m).
    """
    errors.whole("trim, which counts dropped values,", trim)

    def rule(values, count):
        place = jnp.arange(values.shape[0])[:, None]
        kept = (place >= trim) & (place < count - trim)
        total = jnp.sum(jnp.where(kept, values, 0.0), axis=0)
        return total / jnp.maximum(count - 2 * trim, 1).astype(jnp.float32)

    def update(seen: Stacked, state):
        needs("the trimmed mean", seen, 2 * trim + 1, "2 trim + 1", f"trim = {trim}")
        arrived = seen.weights > 0
        out = ordered.coordinatewise(rule, seen.updates, arrived)
        return only_if(jnp.sum(arrived) > 2 * trim, out), state

    properties = ROBUST if trim else ROBUST - {"outlier"}
    return Aggregator(
        stateless,
        update,
        Stacked,
        score=median().score,
        memory="coordinates",
        properties=properties,
    )
