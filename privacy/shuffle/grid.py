"""Many questions in one call: arrays of arguments, broadcast together.

One point takes about a millisecond, so the batch is a loop; it returns arrays of certified ends.
"""

from collections.abc import Callable

import numpy as np

from privacy.accounting.bound import Bound
from privacy.shuffle import amplification, renyi


def _each(call: Callable[..., Bound], *arguments) -> tuple[np.ndarray, np.ndarray]:
    arrays = np.broadcast_arrays(*(np.asarray(a, float) for a in arguments))
    found = [call(*point) for point in zip(*(a.ravel().tolist() for a in arrays), strict=True)]
    ends = np.array([(b.lower, b.upper) for b in found]).reshape(*arrays[0].shape, 2)
    return ends[..., 0], ends[..., 1]


def epsilons(eps0, n, delta, **options) -> tuple[np.ndarray, np.ndarray]:
    """Certified (lower, upper) eps; `options` as in `privacy.shuffle.epsilon`, for all points.

    Example:
        >>> low, high = epsilons([1.0, 4.0], 100_000, 1e-6)
        >>> bool(np.all((low <= [0.015282, 0.169770]) & (high >= [0.015281, 0.169769])))
        True
    """
    return _each(lambda e, k, d: amplification.epsilon(e, k, d, **options), eps0, n, delta)


def deltas(eps, eps0, n, **options) -> tuple[np.ndarray, np.ndarray]:
    """Certified (lower, upper) delta; `options` as in `privacy.shuffle.delta`."""
    return _each(lambda e, e0, k: amplification.delta(e, e0, k, **options), eps, eps0, n)


def rdps(alpha, eps0, n, **options) -> tuple[np.ndarray, np.ndarray]:
    """Certified (lower, upper) Renyi divergence; `options` as in `privacy.shuffle.rdp`.

    Example:
        >>> low, high = rdps([2.0, 16.0], 1.0, 1000, bound="stronger")
        >>> bool(np.all((low <= [0.0015888, 0.012712]) & (high >= [0.0015886, 0.012710])))
        True
    """
    return _each(lambda a, e, k: renyi.rdp(a, e, k, **options), alpha, eps0, n)
