"""Functions that take numbers and arrays of any shape alike, whatever the user's process forbids.

JAX can be told to refuse that arrays of different rank or type meet. The physics here is written
for scalars and used on grids; within these functions such meetings are meant.
"""

import functools

import jax


def broadcasts(function):
    """`function` with JAX's usual rank and type promotion while it is traced."""

    @functools.wraps(function)
    def wrapped(*args, **kwargs):
        with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
            return function(*args, **kwargs)

    return wrapped
