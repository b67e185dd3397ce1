"""Which dtype to count in, and to count places in."""

import jax.numpy as jnp


def wide(dtype) -> jnp.dtype:
    """The dtype for sums, statistics and scores of arrays of this dtype: float32 or float64.

    `jnp.promote_types` refuses to answer where the user forbids implicit promotion.

    Example:
        >>> str(wide(jnp.bfloat16)), str(wide(jnp.float32)), str(wide("float64"))
        ('float32', 'float32', 'float64')
    """
    dtype = jnp.dtype(dtype)
    return dtype if dtype == jnp.dtype("float64") else jnp.dtype("float32")


def places(*at) -> tuple[jnp.ndarray, ...]:
    """Where a slice begins, one int32 an axis.

    `jax.lax.dynamic_update_slice` takes indices of one dtype alone, and a Python number among
    them is int64 where the user has switched 64 bits on.

    Example:
        >>> places(jnp.int32(2), 0)
        (Array(2, dtype=int32), Array(0, dtype=int32))
    """
    return tuple(jnp.asarray(index, jnp.int32) for index in at)
