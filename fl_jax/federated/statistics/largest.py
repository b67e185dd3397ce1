"""The k largest magnitudes of many numbers, without sorting them."""

import jax
import jax.numpy as jnp

from fl_jax.core.types import Array, Float


def threshold(values: Float[Array, " size"], count: int) -> Float[Array, ""]:
    """The `count`-th largest |value|: as many, or by ties more, are not below it.

    Bits of non-negative floats are ordered as the floats are, so that 31 halvings find it exactly.

    Args:
        values: float32, finite.
        count: from 1 to the size.
    """
    bits = jax.lax.bitcast_convert_type(jnp.abs(values), jnp.int32)

    def halve(step, found):
        tried = found | (jnp.int32(1) << (30 - step))
        return jnp.where(jnp.sum(bits >= tried) >= count, tried, found)

    return jax.lax.bitcast_convert_type(jax.lax.fori_loop(0, 31, halve, jnp.int32(0)), jnp.float32)
