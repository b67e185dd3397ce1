"""MultiMetrics: three measures of a model, weighed by how they vary together, and the most usual
models."""

import jax
import jax.numpy as jnp

from fl_jax.core import errors, tree
from fl_jax.core.types import Array, Bool, Float, PyTree
from fl_jax.federated.aggregators.base import Aggregator, Stacked, against_model, only_if
from fl_jax.federated.statistics import gram

FLAT = 1e-6  # of the largest: below it, a direction of the measures counts as one without spread


def measures(update: PyTree, model: PyTree) -> Float[Array, "3"]:
    """(||x||_1, ||x||_2, 1 - cos(w, w + x)) of an update x of the model w.

    1 - cos is (|w|^2 |x|^2 - <w, x>^2) / (b (b + <w, w + x>)) with b = |w| |w + x|: of a small
    update, the cosine itself is 1 to float32's last digits.
    """
    absolute = sum(jnp.sum(jnp.abs(a.astype(jnp.float32))) for a in jax.tree.leaves(update))
    squared, along = tree.squared_norm(model), tree.dot(model, update)
    local = tree.add(model, update)
    product = tree.norm(model) * tree.norm(local)
    below = product * (product + tree.dot(model, local))
    across = jnp.maximum(squared * tree.squared_norm(update) - along * along, 0.0)
    positive = below > 0
    turned = jnp.where(positive, across / jnp.where(positive, below, 1.0), 0.0)
    return jnp.stack([absolute, tree.norm(update), turned])


def deviations(
    own: Float[Array, "many 3"], rows: Float[Array, "cohort 3"], arrived: Bool[Array, " cohort"]
) -> Float[Array, "many 3"]:
    """sum_j |own - rows_j| over those who arrived, measure by measure."""
    away = jnp.abs(own[:, None, :] - rows[None, :, :])
    return jnp.sum(jnp.where(arrived[None, :, None], away, 0.0), axis=1)


def whitened(
    own: Float[Array, "many 3"], rows: Float[Array, "cohort 3"], arrived: Bool[Array, " cohort"]
) -> Float[Array, " many"]:
    """own' S^-1 own with S the covariance of the rows that arrived.

    A direction in which they do not vary counts for nothing.
    """
    there = arrived.astype(jnp.float32)[:, None]
    count = jnp.sum(there)
    middle = jnp.sum(there * rows, axis=0, keepdims=True) / jnp.maximum(count, 1.0)
    away = (rows - middle) * there
    freedom = jnp.maximum(count - 1, 1.0)
    # Of numbers in units of their deviation: the measures differ by orders of magnitude.
    deviation = jnp.sqrt(jnp.sum(jnp.square(away), axis=0) / freedom)
    unit = jnp.where(deviation > 0, 1 / jnp.where(deviation > 0, deviation, 1.0), 0.0)
    scaled = away * unit[None, :]
    correlation = jnp.matmul(scaled.T, scaled, precision=jax.lax.Precision.HIGHEST) / freedom
    values, vectors = jnp.linalg.eigh(correlation)
    usable = values > FLAT * values[-1]
    inverse = jnp.where(usable, 1 / jnp.where(usable, values, 1.0), 0.0)
    along = jnp.matmul(own * unit[None, :], vectors, precision=jax.lax.Precision.HIGHEST)
    return jnp.square(along) @ inverse


def multi_metrics(*, share: float = 0.3) -> Aggregator:
    """The mean of the share of updates with the lowest score.

    A model is measured by the Manhattan and Euclidean length of its update and by its angle to
    the global model; each measure becomes the sum of its distances to the others'. The score
    weighs the three by the inverse of their covariance: sqrt(y' S^-1 y), y not centred.

    The authors' code measures between pairs of local models (Manhattan distance, difference of
    their norms, squared cosine distance) in place of the paper's definition, which is here.

    Args:
        share: p, in (0, 1], of those who arrive; rounded down, at least one. 0.3 is from memory
            of the paper and in public code.

    Raises:
        ConfigError: a share out of its range.

    References:
        Huang, Li, Chen, Shi, Gao 2023, "Multi-metrics adaptively identifies backdoors in
        Federated learning", section 4 (its definitions as on the authors' project page).
    """
    if not 0 < share <= 1:
        raise errors.ConfigError(
            f"the share of updates that MultiMetrics keeps lies in (0, 1], got {share}."
        )

    def update(seen: Stacked, model):
        arrived = seen.weights > 0
        rows = jax.vmap(measures, (0, None))(seen.updates, model)
        away = deviations(rows, rows, arrived)
        scores = jnp.where(arrived, whitened(away, away, arrived), jnp.inf)
        count = jnp.sum(arrived)
        kept = jnp.maximum((share * count.astype(jnp.float32) + 1e-4).astype(jnp.int32), 1)
        chosen = (jnp.argsort(jnp.argsort(scores)) < kept) & arrived
        return only_if(count > 0, gram.mean_of(chosen, seen.updates)), model

    def score(update, others: Stacked, model):
        """Its own score, with the covariance of the others'."""
        there = others.weights > 0
        rows = jax.vmap(measures, (0, None))(others.updates, model)
        own = deviations(measures(update, model)[None], rows, there)
        return jnp.sqrt(whitened(own, deviations(rows, rows, there), there)[0] + 1e-12)

    return against_model(update, score, frozenset({"permutation", "equal"}))
