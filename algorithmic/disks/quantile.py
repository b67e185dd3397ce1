"""Quantile transforms of columns to the unit interval and back, as scikit-learn defines them.

Reference quantiles q_i at p_i = i/(Q-1) of every column. Forward, the mean of the limits from the
left and from the right, so that ties land in the middle of their step; 0 and 1 at and beyond the
ends. Inverse, the linear interpolation of q over p. [scikit-learn, QuantileTransformer]
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from fl_jax.core import errors


class Quantiles(NamedTuple):
    """References of each column."""

    values: Float[np.ndarray, "Q d"]  # never falling along Q


def fit(columns, count: int = 100) -> Quantiles:
    """Quantiles of all rows (scikit-learn takes a random part of many rows; this does not).

    Args:
        columns: (rows, d), finite.
        count: Q; at most as many as rows.

    Raises:
        DataError: no row, or a value that is not finite.
    """
    columns = np.asarray(columns, np.float64)
    if columns.ndim != 2 or not len(columns) or not np.isfinite(columns).all():
        raise errors.DataError(
            f"quantiles need finite rows of (rows, d), but {columns.shape} with"
            f" {int((~np.isfinite(columns)).sum())} values not finite came; remove those rows."
        )
    count = max(2, min(count, len(columns)))
    found = np.percentile(columns, 100 * np.linspace(0, 1, count), axis=0)
    return Quantiles(np.maximum.accumulate(found))


def forward(quantiles: Quantiles, columns):
    """(rows, d) to [0, 1], in NumPy."""
    p = np.linspace(0, 1, len(quantiles.values))
    out = np.empty(np.shape(columns), np.float64)
    for c, q in enumerate(quantiles.values.T):
        x = np.asarray(columns)[:, c]
        up = np.interp(x, q, p)
        down = -np.interp(-x, -q[::-1], -p[::-1])
        out[:, c] = np.where(x <= q[0], 0.0, np.where(x >= q[-1], 1.0, 0.5 * (up + down)))
    return out


def backward(quantiles: Quantiles, unit):
    """[0, 1] to values, in NumPy; never leaves the range that was fitted."""
    p = np.linspace(0, 1, len(quantiles.values))
    columns = [np.interp(np.asarray(unit)[:, c], p, q) for c, q in enumerate(quantiles.values.T)]
    return np.stack(columns, axis=1)


def forward_jax(quantiles: Quantiles, columns):
    """`forward` under jit and differentiable, where the references have no ties."""
    p = jnp.linspace(0, 1, len(quantiles.values), dtype=columns.dtype)
    q = jnp.asarray(quantiles.values, columns.dtype)
    return jax.vmap(lambda x, q: jnp.interp(x, q, p), (1, 1), 1)(columns, q)


def backward_jax(quantiles: Quantiles, unit):
    """`backward` under jit and differentiable."""
    p = jnp.linspace(0, 1, len(quantiles.values), dtype=unit.dtype)
    q = jnp.asarray(quantiles.values, unit.dtype)
    return jax.vmap(lambda u, q: jnp.interp(u, p, q), (1, 1), 1)(unit, q)


def outside(quantiles: Quantiles, columns) -> np.ndarray:
    """(rows, d) bool: where a value lies beyond what was fitted."""
    low, high = quantiles.values[0], quantiles.values[-1]
    columns = np.asarray(columns)
    return (columns < low[None]) | (columns > high[None])
