"""Toeplitz factors C of few bands: a vector of coefficients, good for any number of parameters.

Noise then needs what the last b - 1 rounds added, and a factor is found in O(n b) a step.
"""

import math

import numpy as np
from scipy import optimize, signal

from privacy.accounting.errors import PrivacyError, count
from privacy.factorization import sensitivity, workload


def square_root(of: np.ndarray, bands: int) -> np.ndarray:
    """The first `bands` coefficients of the Toeplitz root C C = A: BSR, a factor in closed form.

    Of prefix sums they are binom(2k, k) / 4^k.

    Args:
        of: (n,) Toeplitz workload, its first coefficient above 0.
        bands: b <= n.

    Raises:
        PrivacyError: another form of workload, or too many bands.

    References:
        Fichtenberger, Henzinger, Upadhyay 2023, "Constant Matters: Fine-grained Error Bound on
        Differentially Private Continual Observation"; Kalinin, Lampert 2024.

    Example:
        >>> square_root(np.ones(4), 4).tolist()
        [1.0, 0.5, 0.375, 0.3125]
    """
    a = workload.checked(of)
    if a.ndim != 1 or not a[0] > 0:
        raise PrivacyError("a Toeplitz root needs a workload (n,) that begins above 0.")
    bands = _bands(bands, a.size)
    root = np.zeros(bands)
    root[0] = math.sqrt(a[0])
    for k in range(1, bands):
        root[k] = (a[k] - root[1:k] @ root[1:k][::-1]) / (2 * root[0])
    return root


def squared_error(of: np.ndarray, coefficients: np.ndarray) -> float:
    """||A C^-1||_F^2: the sum over rounds of a model coordinate's variance, z having variance 1.

    Args:
        of: A, (n,) or (n, n).
        coefficients: (bands,) of C.
    """
    a = workload.checked(of)
    return error_and_slope(a, workload.coefficients(coefficients)[: a.shape[0]])[0]


def rmse(
    of: np.ndarray,
    coefficients: np.ndarray,
    separation: int,
    participations: int | None = None,
) -> float:
    """Deviation of a model coordinate, root mean square over rounds, at noise multiplier 1.

    ||A C^-1||_F sens(C) / sqrt(n): what C's scale does not change. In units of the clipping bound.

    Args:
        of: A, (n,) or (n, n).
        coefficients: (bands,) of C.
        separation, participations: as `sensitivity.toeplitz` has them.

    Example:
        >>> round(rmse(np.ones(4), np.ones(1), 4), 4)  # independent noise: sqrt((1+2+3+4) / 4)
        1.5811
    """
    a = workload.checked(of)
    sens = sensitivity.toeplitz(coefficients, a.shape[0], separation, participations)
    return sens * math.sqrt(squared_error(a, coefficients) / a.shape[0])


def optimise(
    of: np.ndarray, bands: int, separation: int, participations: int | None = None
) -> np.ndarray:
    """Coefficients of least `rmse`, from the square root on, the first one being 1.

    Args:
        of: A, (n,) or (n, n).
        bands: b, at most `separation`, so that a participant's columns do not overlap.
        separation, participations: as `sensitivity.toeplitz` has them.

    Returns:
        (bands,) float64.

    Raises:
        PrivacyError: more bands than the separation or than rounds.

    References:
        McKenna 2024, "Scaling up the Banded Matrix Factorization Mechanism for Differentially
        Private ML" (banded Toeplitz); Choquette-Choo et al. 2023.
    """
    a = workload.checked(of)
    n = a.shape[0]
    bands = _bands(bands, n)
    k = sensitivity.schedule(n, separation, participations)
    if bands > separation:
        raise PrivacyError(
            f"{bands} bands and participations {separation} rounds apart: columns overlap; use at"
            f" most {separation} bands, or `square_root`, whose sensitivity is known all the same."
        )
    if bands == 1:
        return np.ones(1)
    # how many of a participant's columns reach so far down
    reached = np.array([sum(p * separation + i < n for p in range(k)) for i in range(bands)])

    def objective(rest):
        c = np.concatenate([[1.0], rest])
        error, slope = error_and_slope(a, c)
        if not np.isfinite(error):  # C^-1 grows without bound there
            return 1e300, np.zeros_like(rest)
        square = reached @ (c * c)
        value = math.log(error) + math.log(square)
        return value, (slope / error + 2 * reached * c / square)[1:]

    start = square_root(a if a.ndim == 1 else np.ones(n), bands)
    options = {"maxiter": 2000, "maxfun": 4000, "ftol": 1e-13, "gtol": 1e-9}
    found = optimize.minimize(
        objective, (start / start[0])[1:], jac=True, method="L-BFGS-B", options=options
    )
    return np.concatenate([[1.0], found.x])


def _bands(bands: int, rounds: int) -> int:
    bands = count("bands", bands)
    if bands > rounds:
        raise PrivacyError(f"C has at most as many bands as rounds, {rounds}, got {bands}.")
    return bands


def error_and_slope(a: np.ndarray, c: np.ndarray) -> tuple[float, np.ndarray]:
    """(||A C^-1||_F^2, its derivative by the coefficients (bands,)), of checked arguments."""
    n = a.shape[0]
    divide = lambda x: signal.lfilter([1.0], c, x, axis=-1)  # by the power series of C
    with np.errstate(over="ignore", invalid="ignore"):
        if a.ndim == 1:
            w = divide(a)  # first column of A C^-1
            weighed = np.arange(n, 0, -1) * w
            again = divide(w)
            slope = [weighed[k:] @ again[: n - k] for k in range(c.size)]
            return float(weighed @ w), -2 * np.array(slope)
        b = divide(a[:, ::-1])[:, ::-1]  # rows of B C = A, from their ends
        again = divide(b)  # B C^-T
        slope = [np.sum(again[:, : n - k] * b[:, k:]) for k in range(c.size)]
        return float(np.sum(b * b)), -2 * np.array(slope)
