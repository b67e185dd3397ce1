"""Rules on distances: everything they need is the matrix of inner products, m x m."""

import jax
import jax.numpy as jnp

from fl_jax.core import dtypes, tree
from fl_jax.core.types import Array, Bool, Float, PyTree


def gram(updates: PyTree, around: PyTree | None = None) -> Float[Array, "cohort cohort"]:
    """<x_i - c, x_j - c> over all coordinates, leaf by leaf, in full float32.

    Args:
        updates: leaves (cohort, ...).
        around: c, leaves (...); None = 0. A centre near the updates keeps their small distances
            from drowning in large norms.
    """
    leaves = jax.tree.leaves(updates)
    centres = [None] * len(leaves) if around is None else jax.tree.leaves(around)
    total = jnp.zeros((leaves[0].shape[0],) * 2, jnp.float32)
    for leaf, centre in zip(leaves, centres, strict=True):
        rows = leaf.astype(jnp.float32)
        rows = rows if centre is None else rows - centre.astype(jnp.float32)[None]
        flat = rows.reshape(rows.shape[0], -1)
        total += jnp.matmul(flat, flat.T, precision=jax.lax.Precision.HIGHEST)
    return total


def distances(products: Float[Array, "cohort cohort"]) -> Float[Array, "cohort cohort"]:
    """||x_i - x_j||^2 from inner products, not below 0."""
    squares = jnp.diagonal(products)
    return jnp.maximum(squares[:, None] + squares[None, :] - 2 * products, 0.0)


def cosines(products: Float[Array, "cohort cohort"]) -> Float[Array, "cohort cohort"]:
    """cos(x_i, x_j) from inner products; 0 where one of them is zero."""
    size = jnp.sqrt(jnp.maximum(jnp.diagonal(products), 0.0))
    scale = size[:, None] * size[None, :]
    return jnp.where(scale > 0, products / jnp.where(scale > 0, scale, 1.0), 0.0)


def combine(coefficients: Float[Array, "*many cohort"], updates: PyTree) -> PyTree:
    """sum_i a_i x_i, in float32, the result in the dtypes of the updates; of many rows of
    coefficients, leaves (*many, ...)."""

    def add(leaf):
        wide = dtypes.wide(leaf.dtype)
        exact = jax.lax.Precision.HIGHEST  # or accelerators round the coefficients
        total = jnp.tensordot(coefficients.astype(wide), leaf.astype(wide), axes=1, precision=exact)
        return total.astype(leaf.dtype)

    return jax.tree.map(add, updates)


def mean_of(chosen: Bool[Array, " cohort"], updates: PyTree) -> PyTree:
    """The mean of the chosen updates; 0 where nobody is."""
    share = chosen.astype(jnp.float32) / jnp.maximum(jnp.sum(chosen), 1).astype(jnp.float32)
    return combine(share, updates)


def pairwise(updates: PyTree) -> Float[Array, "cohort cohort"]:
    """||x_i - x_j||^2 of updates."""
    return distances(gram(updates))


def to_each(update: PyTree, others: PyTree) -> Float[Array, " cohort"]:
    """||x - x_j||^2 of one update to the others; differentiable in x."""
    total = jnp.float32(0)
    for leaf, rows in zip(jax.tree.leaves(update), jax.tree.leaves(others), strict=True):
        away = (leaf[None] - rows).astype(jnp.float32)
        total = total + jnp.sum(jnp.square(away).reshape(rows.shape[0], -1), axis=1)
    return total


def apart(update: PyTree, others: PyTree, arrived: Bool[Array, " cohort"]) -> Float[Array, ""]:
    """The mean of 1 - cos(x, x_j) over those who arrived; differentiable in x."""
    cosine = jax.vmap(lambda other: tree.cosine(update, other))(others)
    count = jnp.maximum(jnp.sum(arrived), 1).astype(jnp.float32)
    return jnp.sum(jnp.where(arrived, 1 - cosine, 0.0)) / count


def median_of(values: Float[Array, " cohort"], arrived: Bool[Array, " cohort"]):
    """The median of the values that arrived; 0 where none did."""
    count = jnp.sum(arrived)
    ordered = jnp.sort(jnp.where(arrived, values, jnp.inf))
    low, high = ordered[jnp.maximum((count - 1) // 2, 0)], ordered[count // 2]
    return jnp.where(count > 0, (low + high) / 2, 0.0)


def nearest_half(
    apart: Float[Array, " cohort"], arrived: Bool[Array, " cohort"]
) -> Float[Array, ""]:
    """The mean of the smallest floor(m / 2) values of the m that arrived, of one at least."""
    half = jnp.maximum(jnp.sum(arrived) // 2, 1)
    nearest = jnp.sort(jnp.where(arrived, apart, jnp.inf))
    near = (jnp.arange(nearest.shape[0]) < half) & (nearest < jnp.inf)
    return jnp.sum(jnp.where(near, nearest, 0.0)) / half.astype(jnp.float32)
