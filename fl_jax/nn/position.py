"""Where a token stands: ALiBi [Press et al. 2022, arXiv 2108.12409] and masked positions."""

import math

import jax.numpy as jnp
import ml_dtypes
import numpy as np

from fl_jax.core import errors
from fl_jax.core.types import Array, Float, Int, Shaped

FOLDED = 6  # columns that `fold_alibi` appends to queries and keys
LONGEST = 32_768  # tokens whose positions, counted back from the last, these hold exactly


def alibi_slopes(heads: int) -> np.ndarray:
    """(heads,) float32 slopes, also where the number of heads is no power of two.

    With c the greatest power of two up to n, they are 2^(-8/c)^i for i = 1..c, then
    2^(-4/c)^(1, 3, 5, ...) for the n - c that remain [Press et al. 2022, section 3, and the
    code of that paper, which BLOOM follows].

    Example:
        >>> print(alibi_slopes(6))
        [0.25     0.0625   0.015625 0.00390625 0.5      0.125   ]
    """
    errors.positive("heads", heads)
    closest = 2 ** math.floor(math.log2(heads))
    slopes = [2.0 ** (-8 * i / closest) for i in range(1, closest + 1)]
    slopes += [2.0 ** (-4 * i / closest) for i in range(1, 2 * (heads - closest), 2)]
    return np.array(slopes, np.float32)


def positions(mask: Shaped[Array, "batch time"]) -> Int[Array, "batch time"]:
    """(cumsum(mask) - 1) * mask: tokens count from 0, padding and holes stand at 0.

    Padding on the left shifts nothing, and a hole inside is stepped over.
    """
    mask = mask.astype(jnp.int32)
    return (jnp.cumsum(mask, axis=1, dtype=mask.dtype) - 1) * mask


def fold_alibi(
    slopes: np.ndarray, scale: float, positions: Int[Array, "batch time"]
) -> tuple[Float[Array, "heads columns"], Float[Array, "batch time columns"]]:
    """Six columns for queries and keys whose product adds slope * position to the scores.

    A score is scale * (q . k). With w = slope / scale split into three bfloat16 parts and the
    position into 128 a + b, the query columns [128 w1, w1, 128 w2, w2, 128 w3, w3] and the key
    columns [a, b, a, b, a, b] are all exact in bfloat16 from -32,768 to 32,767, so that any
    attention kernel that accumulates in float32 computes ALiBi without a bias. Only differences
    of positions matter to the softmax; positions counted back from the end (so, not above 0)
    keep the sums small.

    Args:
        slopes: (heads,) float32, constants.
        scale: what the kernel multiplies the dot product by.
        positions: integers from -32,768 to 32,767.

    Returns:
        (query columns (heads, 6), key columns (batch, time, 6)), float32 with bfloat16 values.
    """
    rest = np.asarray(slopes, np.float64) / scale
    columns = []
    for _ in range(FOLDED // 2):
        part = rest.astype(ml_dtypes.bfloat16).astype(np.float64)
        rest = rest - part
        columns += [128 * part, part]
    high = jnp.floor_divide(positions, 128)
    low = positions - 128 * high
    keys = jnp.stack([high, low] * (FOLDED // 2), axis=-1).astype(jnp.float32)
    return jnp.asarray(np.stack(columns, axis=-1), jnp.float32), keys
