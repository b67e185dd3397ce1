"""Prediction intervals that hold for disks not seen, by split conformal over whole disks.

Cells of one disk are not exchangeable with those of another; disks are. A half width w covers a
share of a new disk's cells that is `level` in expectation: with m calibration disks of equal
weight, w is the smallest value with (1/(m+1)) sum_disks (share of its cells with error <= w) at
least `level`, the missing disk counting as not covered. That bound holds for any m and costs
width: few disks cover level (m+1)/m of the cells of a new one. Without it (`bound=False`) the
quantile is that of the pooled errors, sum over m: it covers `level` as m grows, and for few disks
about that, with no bound. [Dunn, Wasserman, Ramdas 2023, pooling of groups]
"""

import itertools

import numpy as np

from fl_jax.core import errors


def widths(
    misses: np.ndarray, disks: np.ndarray, level: float = 0.9, *, bound: bool = True
) -> np.ndarray:
    """Half widths per column.

    Args:
        misses: (rows, species) absolute errors.
        disks: (rows,) which disk a row belongs to.
        level: coverage of cells of a new disk.
        bound: whether the level is a lower bound for any number of disks.

    Raises:
        ConfigError: a level outside (0, 1), or fewer disks than the bound needs.
        DataError: no errors, or some that are NaN.
    """
    if not 0 < level < 1:
        raise errors.ConfigError(f"a level lies between 0 and 1, got {level}; 0.9 is 90 %.")
    if not len(misses):
        raise errors.DataError("intervals need errors of one row at least, but none came.")
    if np.isnan(misses).any():
        raise errors.DataError(
            f"{int(np.isnan(misses).any(axis=1).sum())} rows have errors that are NaN; remove them."
        )
    names, owner, counts = np.unique(disks, return_inverse=True, return_counts=True)
    m = len(names)
    if bound and level > m / (m + 1):
        need = next(n for n in itertools.count(m) if level <= n / (n + 1))
        raise errors.ConfigError(
            f"a level of {level} needs at least {need} calibration disks, but {m} came; give more"
            " or lower the level."
        )
    weight = 1.0 / counts[owner] / (m + 1 if bound else m)
    out = np.empty(misses.shape[1])
    for s, column in enumerate(misses.T):
        order = np.argsort(column)
        reached = np.cumsum(weight[order]) >= level - 1e-12
        out[s] = column[order][reached.argmax()]
    return out


def coverage(misses: np.ndarray, widths: np.ndarray, disks: np.ndarray) -> tuple[float, float]:
    """(mean over disks of the covered share of cells, its standard error), over all columns.

    The standard error of one disk is NaN.
    """
    inside = (misses <= widths[None]).mean(axis=1)
    shares = np.array([inside[disks == d].mean() for d in np.unique(disks)])
    spread = shares.std(ddof=1) if len(shares) > 1 else np.nan
    return float(shares.mean()), float(spread / np.sqrt(len(shares)))
