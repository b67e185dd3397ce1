"""Squared distances that are the same, bit for bit, as those of a plain loop over coordinates.

Compilers fuse a product and a sum into one operation of another rounding. Here each square passes
through an integer operation with a zero that is only known at run time, so nothing can be fused:
((x0-y0)^2 + (x1-y1)^2) + ... is rounded after every step, as NumPy rounds it.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def squared(differences: list[Float[Array, "*n"]], zero: Int[Array, ""]) -> Float[Array, "*n"]:
    """Sum of the squares of float32 differences, coordinate after coordinate.

    Args:
        differences: one array a coordinate.
        zero: int32 zero that is an argument of the compiled program, not a constant in it.
    """
    total = None
    for difference in differences:
        bits = jax.lax.bitcast_convert_type(difference * difference, jnp.int32)
        square = jax.lax.bitcast_convert_type(bits ^ zero, jnp.float32)
        total = square if total is None else total + square
    return total


def to_box(point, low, high, zero):
    """Lower bound of the squared distance between a box and whatever lies in another.

    Rounding is monotonic: the bound never exceeds the computed distance of a point in the box.

    Args:
        point: per coordinate (low, high) of where the query may be; equal for one query.
        low: per coordinate, of the boxes.
        high: the same.
        zero: see `squared`.
    """
    gaps = [
        jnp.maximum(jnp.maximum(below - p_high, p_low - above), 0.0)
        for (p_low, p_high), below, above in zip(point, low, high, strict=True)
    ]
    return squared(gaps, zero)
