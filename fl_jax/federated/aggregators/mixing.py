"""Nearest-neighbour mixing: before a rule sees an update, those nearest to it are averaged in."""

import jax.numpy as jnp

from fl_jax.core import errors, tree
from fl_jax.core.types import Array, Bool, Float
from fl_jax.federated.aggregators.base import Aggregator, Stacked, as_stacked, needs, only_if
from fl_jax.federated.statistics import gram


def shares(
    distances: Float[Array, "cohort cohort"], arrived: Bool[Array, " cohort"], attackers: int
) -> Float[Array, "cohort cohort"]:
    """Row i: 1 / (count - f) for the count - f that are nearest to i, itself among them; else 0.

    Args:
        distances: squared, (m, m).
        arrived: which updates count; the others' rows are 0.
        attackers: f.
    """
    own = jnp.eye(distances.shape[0], dtype=bool)
    usable = arrived[:, None] & arrived[None, :]
    # Itself first, whatever rounding made of its distance to itself or to its equals.
    near = jnp.where(own, -1.0, jnp.where(usable, distances, jnp.inf))
    rank = jnp.argsort(jnp.argsort(near, axis=1), axis=1)
    taken = jnp.maximum(jnp.sum(arrived) - attackers, 1)
    return ((rank < taken) & usable).astype(jnp.float32) / taken.astype(jnp.float32)


def nearest_neighbours(rule: Aggregator, *, attackers: int) -> Aggregator:
    """The rule on y_i, the mean of the m - f updates that are nearest to x_i, x_i among them.

    Where participants hold unlike data, honest updates are so far apart that a robust rule drops
    honest ones or lets in what hides between them. Mixing brings them together, and an attacker's
    own y_i too. A round in which fewer than 2f + 1 arrive moves nothing.

    Args:
        rule: how the mixed updates become one step; its own number of attackers is the same f.
        attackers: f, how many of a round's updates may be malicious.

    Raises:
        ConfigError: f no whole number of 0 or more, or m < 2f + 1 (when the round is traced).

    References:
        Allouah, Farhadkhani, Guerraoui, Gupta, Pinot, Stephan 2023, "Fixing by Mixing: A Recipe
        for Optimal Byzantine ML under Heterogeneity", Algorithm 2.
    """
    errors.whole("attackers (f)", attackers)
    rule = as_stacked(rule)

    def mixed(seen: Stacked) -> Stacked:
        found = shares(gram.pairwise(seen.updates), seen.weights > 0, attackers)
        return seen._replace(updates=gram.combine(found, tree.wide(seen.updates)))

    def update(seen: Stacked, state):
        least = 2 * attackers + 1
        needs("nearest-neighbour mixing", seen, least, "2f + 1", f"f = {attackers}")
        out, state = rule.update(mixed(seen), state)
        out = only_if(jnp.sum(seen.weights > 0) >= least, out)
        return tree.cast(out, seen.updates), state

    def score(update, others: Stacked, state):
        """The rule's, of the update as it is beside the others mixed."""
        return rule.score(update, mixed(others), state)

    return rule._replace(
        update=update,
        score=None if rule.score is None else score,
        memory="gram",
        # With f = 0 everybody is everybody's neighbour, one far out too.
        properties=rule.properties if attackers else rule.properties - {"outlier"},
    )
