"""Buffered Toeplitz factors (BLT): coefficients that are sums of a few powers of time.

c_0 = 1 and c_i = sum_j weights_j decays_j^(i-1): all n bands, though noise needs one buffer a
power. They fall and are not negative, so that `sensitivity.toeplitz` holds for any separation.
"""

from typing import NamedTuple

import numpy as np
from scipy import optimize, special

from privacy.accounting.errors import PrivacyError, count
from privacy.factorization import sensitivity, toeplitz, workload

LEAST, MOST = -10.0, 14.0  # logits of a decay: 1 - 8e-7 is still below 1 in float32
INSIDE = 1 - 1e-6  # the sum of the weights stays below 1 in float32


class Buffers(NamedTuple):
    """A factor, in numbers of float32, in which rounds are run."""

    weights: np.ndarray  # (buffers,), not negative, of sum 1 at most
    decays: np.ndarray  # (buffers,), in [0, 1)


def coefficients(buffers: Buffers, rounds: int) -> np.ndarray:
    """(rounds,): the first column of C, of the float32 numbers that rounds use.

    Raises:
        PrivacyError: weights or decays out of their range.

    Example:
        >>> coefficients(Buffers(np.array([0.5, 0.25]), np.array([0.5, 0.0])), 4).tolist()
        [1.0, 0.75, 0.25, 0.125]
    """
    weights, decays = (np.asarray(v, np.float32).astype(float) for v in buffers)
    if weights.ndim != 1 or weights.shape != decays.shape or not weights.size:
        raise PrivacyError(
            f"a buffer has one weight and one decay, got arrays of shapes {weights.shape} and"
            f" {decays.shape}."
        )
    if not (np.all(weights >= 0) and weights.sum() <= 1 and np.all((decays >= 0) & (decays < 1))):
        raise PrivacyError(
            "weights must not be negative and add up to 1 at most, and decays lie in [0, 1); only"
            " then do the coefficients fall."
        )
    powers = decays ** np.arange(count("rounds", rounds) - 1)[:, None]
    return np.concatenate([[1.0], powers @ weights])


def optimise(
    of: np.ndarray, buffers: int, separation: int, participations: int | None = None
) -> Buffers:
    """Buffers of least `toeplitz.rmse`, from powers that are fitted to the square root on.

    Args:
        of: A, (n,) or (n, n).
        buffers: how many; a model of memory each. One or two are enough where participations are
            close, five where there is one.
        separation, participations: as `sensitivity.toeplitz` has them.

    References:
        Dvijotham, McMahan, Pillutla, Steinke, Thakurta 2024, "Efficient and Near-Optimal Noise
        Generation for Streaming Differential Privacy"; McMahan, Xu, Zhang 2024, "A Hassle-free
        Algorithm for Strong Differential Privacy in Federated Learning Systems" (several
        participations).
    """
    a = workload.checked(of)
    n, buffers = a.shape[0], count("buffers", buffers)
    k = sensitivity.schedule(n, separation, participations)
    times = np.arange(n - 1)[:, None]

    def parts(point):
        """(decays, weights, those over INSIDE) of d logits each."""
        shares = special.softmax(np.append(point[buffers:], 0.0))[:buffers]
        return special.expit(point[:buffers]), INSIDE * shares, shares

    def objective(point):
        decays, weights, shares = parts(point)
        powers = decays**times
        c = np.concatenate([[1.0], powers @ weights])
        error, slope = toeplitz.error_and_slope(a, c)
        moved = sensitivity.moved(c, n, separation, k)
        square = moved @ moved
        for first in range(0, k * separation, separation):
            slope[: n - first] += 2 * moved[first:] * error / square
        slope = slope[1:] / error  # of the logarithm of both, by c_1, c_2, ..
        by_weights = powers.T @ slope
        later = times * decays ** np.maximum(times - 1, 0)
        by_decays = weights * (later.T @ slope)
        return np.log(error) + np.log(square), np.concatenate(
            [
                by_decays * decays * (1 - decays),
                weights * by_weights - shares * (weights @ by_weights),
            ]
        )

    start = _start(n, buffers, min(n, separation))
    options = {"maxiter": 500, "maxfun": 1000, "ftol": 1e-12, "gtol": 1e-8}
    bounds = [(LEAST, MOST)] * buffers + [(-30.0, 30.0)] * buffers
    found = optimize.minimize(
        objective, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options
    )
    decays, weights, _ = parts(found.x)
    order = np.argsort(-decays)
    return Buffers(*(v[order].astype(np.float32).astype(float) for v in (weights, decays)))


def _start(rounds: int, buffers: int, longest: int) -> np.ndarray:
    """Logits of decays, of lifetimes that grow by a factor to the longest, and of weights that fit
    them to the square root."""
    lifetimes = float(longest) ** (np.arange(1, buffers + 1) / buffers)
    decays = 1 - 1 / (1 + lifetimes)
    root = toeplitz.square_root(np.ones(rounds), rounds)[1:]
    weights, _ = optimize.nnls(decays ** np.arange(rounds - 1)[:, None], root)
    weights = np.maximum(weights, 1e-3)
    weights *= min(1.0, 0.9 / weights.sum())
    return np.concatenate([special.logit(decays), np.log(weights / (1 - weights.sum()))])
