"""Pooling over windows that do not overlap, with a cheap derivative.

XLA differentiates `reduce_window` into `select_and_scatter`, which is slow on CPU. Windows that
do not overlap need neither: they are two axes of a reshape.
"""

import functools

import jax
import jax.numpy as jnp

from fl_jax.core import dtypes
from fl_jax.core.types import Array, Float
from fl_jax.nn import barrier


def _windows(x, size):
    """(n, h // size, size, w // size, size, c); rows and columns left over are dropped."""
    n, h, w, c = x.shape
    x = x[:, : h // size * size, : w // size * size]
    return x.reshape(n, h // size, size, w // size, size, c)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def max_pool(x: Float[Array, "n h w c"], size: int = 2) -> Float[Array, "n ho wo c"]:
    """The largest of each size x size window, stride size, no padding ("VALID").

    The derivative of a window goes to its first largest element in row-major order, all of it,
    as that of `reduce_window` (haiku, flax, FedJAX) does; `jnp.max` would share it among equals.
    Rows and columns that do not fill a window are dropped.

    Args:
        x: images (n, h, w, c), without NaN.
        size: side of the window.

    Returns:
        (n, h // size, w // size, c).

    Example:
        >>> import jax.numpy as jnp
        >>> print(max_pool(jnp.arange(16.0).reshape(1, 4, 4, 1), 2)[0, :, :, 0])
        [[ 5.  7.]
         [13. 15.]]
    """
    return jnp.max(_windows(x, size), axis=(2, 4))


@max_pool.defjvp
def _max_pool_jvp(size, primals, tangents):
    windows = _windows(*primals, size)
    y = jnp.max(windows, axis=(2, 4))
    largest = windows == y[:, :, None, :, None]
    place = jnp.arange(size * size, dtype=dtypes.wide(y.dtype))  # bfloat16 counts up to 256
    place = place.reshape(1, 1, size, 1, size, 1)
    first = jnp.min(jnp.where(largest, place, size * size), axis=(2, 4), keepdims=True)
    chosen = place == barrier.materialize(first)
    dy = jnp.sum(jnp.where(chosen, _windows(*tangents, size), 0), axis=(2, 4))
    # Held: what comes back would be computed again for every pixel of a window.
    return y, barrier.materialize_linear(dy, y)


def avg_pool(x: Float[Array, "n h w c"], size: int = 2) -> Float[Array, "n ho wo c"]:
    """The mean of each size x size window, stride size, no padding ("VALID").

    Args and result as in `max_pool`.
    """
    return jnp.mean(_windows(x, size), axis=(2, 4))
