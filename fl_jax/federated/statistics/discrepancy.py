"""Maximum mean discrepancy: how differently many samples are distributed, pair by pair."""

import jax
import jax.numpy as jnp

from fl_jax.core.types import Array, Float

FAR = 1e15  # beyond it, squares of numbers would overflow


def _bounded(points):
    """Finite: what a model that is far out gives must not send NaN into the kernels."""
    return jnp.clip(jnp.nan_to_num(points.astype(jnp.float32)), -FAR, FAR)


def _apart(x, y):
    """||x_a - y_b||^2, in full float32."""
    squares = jnp.sum(jnp.square(x), axis=-1)[:, None] + jnp.sum(jnp.square(y), axis=-1)[None, :]
    return jnp.maximum(squares - 2 * jnp.matmul(x, y.T, precision=jax.lax.Precision.HIGHEST), 0.0)


def usual_width(points: Float[Array, "points features"]) -> Float[Array, ""]:
    """The median distance between two different points; 1 where that is 0."""
    x = _bounded(points)
    size = x.shape[0]
    first, second = jnp.triu_indices(size, 1)
    found = jnp.median(jnp.sqrt(_apart(x, x)[first, second]))
    return jnp.where(found > 0, found, 1.0)


def to_each(
    sample: Float[Array, "points features"],
    others: Float[Array, "cohort points features"],
    width: Float[Array, ""],
) -> Float[Array, " cohort"]:
    """The squared discrepancies of one sample to the others, estimated without bias; they may be
    below 0. Differentiable in all.

    Kernel exp(-||x - y||^2 / (2 width^2)).

    References:
        Gretton, Borgwardt, Rasch, Schoelkopf, Smola 2012, "A Kernel Two-Sample Test", lemma 6.
    """
    x = _bounded(sample)
    size = x.shape[0]

    def kernel(a, b):
        return jnp.exp(-_apart(a, b) / (2 * jnp.square(width)))

    def within(a):
        # The diagonal is 1, to rounding; it does not count.
        return (jnp.sum(kernel(a, a)) - size) / (size * (size - 1))

    def one(other):
        y = _bounded(other)
        return within(x) + within(y) - 2 * jnp.mean(kernel(x, y))

    return jax.lax.map(one, others)
