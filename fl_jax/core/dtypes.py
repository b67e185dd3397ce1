"""Which dtype to count in."""

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
