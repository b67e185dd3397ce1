"""Principal components of a round's updates, from inner products alone."""

import jax
import jax.numpy as jnp

from fl_jax.core import tree
from fl_jax.core.types import Array, Bool, Float, PyTree
from fl_jax.federated.statistics import gram


def centred(
    products: Float[Array, "cohort cohort"], arrived: Bool[Array, " cohort"]
) -> Float[Array, "cohort cohort"]:
    """<x_i - mu, x_j - mu> from <x_i, x_j>, with mu the mean of those who arrived; 0 of others."""
    there = arrived.astype(products.dtype)
    share = there / jnp.maximum(jnp.sum(there), 1.0)
    along = products @ share
    inside = products - along[:, None] - along[None, :] + share @ along
    return inside * there[:, None] * there[None, :]


def places(products: Float[Array, "cohort cohort"], count: int) -> Float[Array, "cohort count"]:
    """The first `count` principal components of every update, from centred inner products.

    With K = X X' = U S^2 U', the component along the k-th right singular vector is S_k u_k. Its
    sign is free: the largest in magnitude is positive.
    """
    values, vectors = jnp.linalg.eigh(products)
    out = vectors[:, ::-1][:, :count] * jnp.sqrt(jnp.maximum(values[::-1][:count], 0.0))[None, :]
    largest = jnp.take_along_axis(out, jnp.argmax(jnp.abs(out), axis=0)[None, :], axis=0)
    return jnp.where(largest < 0, -out, out)


def distance(
    update: PyTree, others: PyTree, arrived: Bool[Array, " cohort"], count: int
) -> Float[Array, ""]:
    """The squared distance of an update from the mean, along the first `count` principal
    directions of it and the others together.

    The directions are held in the derivative: singular vectors have none where values meet.
    """
    every = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), update, others)
    there = jnp.append(True, arrived).astype(jnp.float32)
    share = there / jnp.sum(there)
    mean = gram.combine(share, every)
    held = jax.lax.stop_gradient(every)
    centre = gram.combine(share, held)
    products = gram.gram(held, around=centre) * there[:, None] * there[None, :]
    vectors = jnp.linalg.eigh(products)[1]
    total = jnp.float32(0)
    for k in range(1, count + 1):
        weights = vectors[:, -k] * there
        direction = tree.sub(gram.combine(weights, held), tree.scale(jnp.sum(weights), centre))
        along = tree.dot(tree.sub(update, mean), direction)
        total += jnp.square(along) / jnp.maximum(tree.squared_norm(direction), 1e-30)
    return total
