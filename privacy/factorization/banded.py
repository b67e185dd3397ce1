"""Banded factors C of any form: a little better than Toeplitz ones, for up to some 1,000 rounds."""

import math

import numpy as np
from scipy import linalg, optimize

from privacy.accounting.errors import PrivacyError, count
from privacy.factorization import sensitivity, toeplitz, workload


def rmse(
    of: np.ndarray, factor: np.ndarray, separation: int, participations: int | None = None
) -> float:
    """As `toeplitz.rmse`: ||A C^-1||_F sens(C) / sqrt(n).

    Args:
        of: A, (n,) or (n, n).
        factor: C, (n, n), with at most `separation` bands.
        separation, participations: as `sensitivity.banded` has them.
    """
    a = workload.matrix(workload.checked(of))
    sens = sensitivity.banded(factor, separation, participations)
    if np.shape(factor) != a.shape:
        raise PrivacyError(
            f"C is for {np.shape(factor)[0]} rounds, but the workload has {a.shape[0]}."
        )
    b = linalg.solve_triangular(factor, a.T, trans="T", lower=True)
    return sens * math.sqrt(np.sum(b * b) / a.shape[0])


def optimise(of: np.ndarray, bands: int, *, steps: int = 500) -> np.ndarray:
    """C of least ||A C^-1||_F with columns of length 1, so that k participations cost sqrt(k).

    The best Toeplitz factor with its columns made equally long is the start; its entries are then
    free.

    Args:
        of: A, (n,) or (n, n).
        bands: b, at most what separates participations.
        steps: of L-BFGS, O(n^3) each.

    Returns:
        (n, n) float64, lower-triangular.

    References:
        Choquette-Choo et al. 2023, "(Amplified) Banded Matrix Factorization", equation 6.
    """
    a = workload.matrix(workload.checked(of))
    n = a.shape[0]
    start = workload.matrix(toeplitz.optimise(of, bands, n, 1), n)
    here = np.nonzero(np.tril(np.triu(np.ones((n, n)), 1 - bands)))

    def parts(entries):
        free = np.zeros((n, n))
        free[here] = entries
        length = np.linalg.norm(free, axis=0)
        return free / length, length

    def objective(entries):
        c, length = parts(entries)
        b = linalg.solve_triangular(c, a.T, trans="T", lower=True).T
        error = np.sum(b * b)
        again = linalg.solve_triangular(c, b.T, lower=True).T  # B C^-T
        slope = -2 * b.T @ again
        slope = (slope - c * np.sum(c * slope, axis=0)) / length  # along columns of length 1
        return math.log(error), slope[here] / error

    options = {"maxiter": count("steps", steps), "maxfun": 2 * steps, "maxcor": 20}
    found = optimize.minimize(objective, start[here], jac=True, method="L-BFGS-B", options=options)
    return parts(found.x)[0]


def rows(factor: np.ndarray, bands: int) -> np.ndarray:
    """(n, bands): what stands at and left of the diagonal, C[t, t - k], as rounds want it.

    Raises:
        PrivacyError: no such matrix, or entries outside of the bands.

    Example:
        >>> rows(np.array([[1.0, 0.0], [0.5, 2.0]]), 2).tolist()
        [[1.0, 0.0], [2.0, 0.5]]
    """
    bands = count("bands", bands)
    c = workload.within(factor, bands)
    out = np.zeros((c.shape[0], bands))
    for k in range(min(bands, c.shape[0])):
        out[k:, k] = np.diagonal(c, -k)
    return out
