"""What is to be known accurately: every model of a training, as a matrix A of the rounds' sums.

Row t holds what each round's sum contributes to the model after round t. A plain vector stands for
a lower-triangular Toeplitz matrix, of which it is the first column.
"""

import numpy as np

from privacy.accounting.errors import PrivacyError, count, number


def momentum(rounds: int, beta: float = 0.0) -> np.ndarray:
    """(rounds,): the models of a server with heavy-ball momentum, (1 - beta^(k+1)) / (1 - beta).

    Args:
        rounds: n.
        beta: in [0, 1); 0 gives prefix sums, a server that adds what it gets.

    Raises:
        PrivacyError: a number out of its range.

    References:
        Denisov, McMahan, Rush, Smith, Thakurta 2022, "Improved Differential Privacy for SGD via
        Optimal Private Linear Operators on Adaptive Streams".

    Example:
        >>> momentum(3, 0.5).tolist()
        [1.0, 1.5, 1.75]
    """
    rounds, beta = count("rounds", rounds), number("momentum", beta)
    if not 0 <= beta < 1:
        raise PrivacyError(f"momentum must lie in [0, 1), got {beta:g}.")
    return np.cumsum(beta ** np.arange(rounds))


def scheduled(rates: np.ndarray, beta: float = 0.0) -> np.ndarray:
    """(n, n): as `momentum`, round i's step being taken at rates[i]: a cooldown, say.

    A[t, j] = sum over i from j to t of rates[i] beta^(i-j).

    Example:
        >>> scheduled(np.array([1.0, 0.5]), 0.5).tolist()
        [[1.0, 0.0], [1.25, 0.5]]
    """
    rates = np.asarray(rates, float)
    if rates.ndim != 1 or not np.all(np.isfinite(rates)) or not rates.size:
        raise PrivacyError("the learning rates must be one finite number a round.")
    momenta = matrix(np.diff(momentum(rates.size, beta), prepend=0.0))
    return np.cumsum(rates[:, None] * momenta, axis=0)


def matrix(workload: np.ndarray, rounds: int | None = None) -> np.ndarray:
    """(n, n): a workload written out, or a factor given by fewer coefficients.

    Args:
        workload: (n, n), or a first column, filled up with zeros.
        rounds: n; None = as many as there are numbers.

    Raises:
        PrivacyError: as `checked`.

    Example:
        >>> matrix(np.array([1.0, 0.5]), 3).tolist()
        [[1.0, 0.0, 0.0], [0.5, 1.0, 0.0], [0.0, 0.5, 1.0]]
    """
    workload = checked(workload)
    if workload.ndim == 2:
        return workload
    rounds = workload.size if rounds is None else rounds
    column = np.zeros(rounds)
    column[: workload.size] = workload[:rounds]
    apart = np.subtract.outer(np.arange(rounds), np.arange(rounds))
    return np.where(apart >= 0, column[np.maximum(apart, 0)], 0.0)


def coefficients(factor: np.ndarray) -> np.ndarray:
    """The first column of a Toeplitz factor C in float64.

    Raises:
        PrivacyError: not a vector of finite numbers that begins above 0.
    """
    c = np.asarray(factor, float)
    if c.ndim != 1 or not c.size or not np.all(np.isfinite(c)) or not c[0] > 0:
        raise PrivacyError(
            "the coefficients of C are a vector of finite numbers, the first one above 0."
        )
    return c


def within(factor: np.ndarray, bands: int) -> np.ndarray:
    """A factor C (n, n) of at most so many bands in float64.

    Raises:
        PrivacyError: not a finite square matrix; entries outside of the bands, or 0 on the
            diagonal.
    """
    c = np.asarray(factor, float)
    if c.ndim != 2 or c.shape[0] != c.shape[1] or not c.size or not np.all(np.isfinite(c)):
        raise PrivacyError(f"a factor is a finite square matrix, got the shape {c.shape}.")
    if np.any(np.triu(c, 1)) or np.any(np.tril(c, -bands)):
        raise PrivacyError(
            f"a factor of at most {bands} bands is lower-triangular, but this one has entries"
            " outside of them."
        )
    if not np.all(np.diagonal(c)):
        raise PrivacyError("a factor with 0 on its diagonal has no inverse.")
    return c


def checked(workload: np.ndarray) -> np.ndarray:
    """A workload in float64.

    Raises:
        PrivacyError: neither a vector nor a square lower-triangular matrix of finite numbers.
    """
    workload = np.asarray(workload, float)
    square = workload.ndim == 2 and workload.shape[0] == workload.shape[1]
    if not workload.size or not (workload.ndim == 1 or square):
        raise PrivacyError(
            "a workload is a first column (n,) or a matrix (n, n), got an array of shape"
            f" {workload.shape}."
        )
    if not np.all(np.isfinite(workload)):
        raise PrivacyError("a workload must be finite.")
    if square and np.any(np.triu(workload, 1)):
        raise PrivacyError("a workload is lower-triangular: no model knows of later rounds.")
    return workload
