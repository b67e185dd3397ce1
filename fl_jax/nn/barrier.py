"""Values that the compiler must compute once."""

import jax
import jax.numpy as jnp

from fl_jax.core.types import Array, Float


@jax.custom_jvp
def materialize(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """x itself, written to memory once instead of recomputed wherever it is used.

    XLA's CPU compiler fuses a chain of cheap element-wise operations into each of its consumers,
    so that sixteen consumers compute the chain sixteen times, and it drops
    `jax.lax.optimization_barrier` before it fuses. Only what it counts as expensive is computed
    once, and division is. So x is divided by an array of ones that the compiler cannot see
    through: max(lowest bit of x, 1). The result is x bit for bit, infinities and NaN included,
    at the cost of one pass over x; the derivative, the identity, is held the same way.

    On other backends it is the barrier.

    Args:
        x: any shape, any floating dtype.

    Example:
        >>> import jax.numpy as jnp
        >>> print(materialize(jnp.array([1.5, -0.1, jnp.inf])))
        [ 1.5 -0.1  inf]
    """
    if jax.default_backend() != "cpu":
        return jax.lax.optimization_barrier(x)
    return x / _ones(x)


@materialize.defjvp
def _materialize_jvp(primals, tangents):
    y = materialize(*primals)
    return y, materialize_linear(*tangents, y)


def materialize_linear(dy: Float[Array, "..."], y: Float[Array, "..."]) -> Float[Array, "..."]:
    """dy itself, held as by `materialize`, and so is its transpose: the cotangent that comes back.

    Args:
        dy: a tangent.
        y: its primal, of the same shape.
    """
    # Linear in dy, so the transpose divides (and holds) the cotangent too.
    return dy / _ones(y) if jax.default_backend() == "cpu" else dy


def _ones(x):
    bits = jax.lax.bitcast_convert_type(x, f"uint{jnp.finfo(x.dtype).bits}")
    return jnp.maximum(bits & 1, 1).astype(x.dtype)
