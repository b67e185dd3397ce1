"""The least of many numbers in a row, by integers that carry their place.

The bits of a float that is not negative, read as an integer, stand in the order of the floats.
With the last bits replaced by the place in the row, one integer is both the number, rounded down,
and where it stood: partitioning needs no second array. On a CPU, NumPy's vectorised partition
of 32-bit integers is ten times as fast as the compiled `top_k`, so the selection is done there.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int


def _mask(count: int) -> np.int32:
    return np.int32((1 << max(1, (count - 1).bit_length())) - 1)


def keys(values: Float[Array, "... n"]) -> Int[Array, "... n"]:
    """Integers that order as the values, float32 and not negative, and hold their places."""
    count = values.shape[-1]
    bits = jax.lax.bitcast_convert_type(values, jnp.int32)
    places = jax.lax.broadcasted_iota(jnp.int32, values.shape, values.ndim - 1)
    return (bits & ~_mask(count)) | places


def least(keys: Int[Array, "m n"], count: int):
    """The `count` least of every row.

    Returns:
        (places (m, count) int32, least first; their values, rounded down, (m, count) float32;
        a lower bound of all others (m,) float32, inf where there are none).
    """
    width = keys.shape[1]
    if jax.default_backend() == "cpu":
        held = np.array(keys)
        if count < width:
            held.partition(count, axis=1)
        rest = held[:, count : count + 1]
        held = np.sort(held[:, :count], axis=1)
    else:
        held = np.asarray(_top(keys, min(count + 1, width)))
        held, rest = held[:, :count], held[:, count:]
    mask = _mask(width)
    value = lambda k: (k & ~mask).view(np.float32)
    beyond = value(rest)[:, 0] if rest.shape[1] else np.full(len(held), np.inf, np.float32)
    return held & mask, value(held), beyond


@functools.partial(jax.jit, static_argnames="count")
def _top(keys, count):
    return ~jax.lax.top_k(~keys, count)[0]
