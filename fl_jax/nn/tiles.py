"""Products in bfloat16 that a CPU computes in its matrix tiles (AMX), at several times the rate of
float32.

XLA's CPU compiler hands a product of bfloat16 matrices to its fast kernels only if the result is
asked for in float32 and the sum runs over the last axis of the left side. Any other it widens to
float32 first, and a transposed operand, which it folds into the product, makes it another one. So
products are rounded after they are summed, and a matrix that has to be turned around is turned
in blocks, which are not folded.
"""

import math

import jax
import jax.numpy as jnp

from fl_jax.core.types import Array, Float

BLOCK = 32  # rows and columns of the blocks that a matrix is turned in


def fit(x: Float[Array, "..."]) -> bool:
    """Whether products of x are better written as here: bfloat16 on a CPU."""
    return x.dtype == jnp.bfloat16 and jax.default_backend() == "cpu"


def product(
    a: Float[Array, "rows inner"], b: Float[Array, "..."], *, turned: bool = False
) -> Float[Array, "rows columns"]:
    """a b, summed in float32 and rounded once to the dtype of a.

    Args:
        a: (rows, inner).
        b: (inner, columns), or (columns, inner) if `turned`.
        turned: multiply by b^T.
    """
    inner = (((1,), (1 if turned else 0,)), ((), ()))
    wide = jax.lax.dot_general(a, b, inner, preferred_element_type=jnp.float32)
    # Rounded at once: a float32 result that is turned around later becomes a product that XLA
    # compiles and then refuses to run ("Unsupported element type for DotThunk", jax 0.10.2).
    return wide.astype(a.dtype)


def product_over_rows(
    x: Float[Array, "rows left"], y: Float[Array, "rows right"]
) -> Float[Array, "left right"]:
    """x^T y, likewise; the narrower side is turned around."""
    if x.shape[1] <= y.shape[1]:
        return product(turn(x), y)
    return product(turn(y), x).T


def turn(a: Float[Array, "rows columns"]) -> Float[Array, "columns rows"]:
    """a^T, written to memory (if rows and columns have a divisor in common with `BLOCK`)."""
    rows, columns = a.shape
    r, c = math.gcd(rows, BLOCK), math.gcd(columns, BLOCK)
    blocks = a.reshape(rows // r, r, columns // c, c)
    return blocks.transpose(2, 3, 0, 1).reshape(columns, rows)
