"""Relative position buckets [Raffel et al. 2020, section 2.1]."""

import math

import numpy as np

from fl_jax.core import errors


def buckets(
    relative: np.ndarray, *, bidirectional: bool, count: int = 32, max_distance: int = 128
) -> np.ndarray:
    """The bucket of each relative position, key minus query.

    Distances below half of a direction's buckets have one each; farther ones share buckets that
    grow with the logarithm, up to `max_distance`. Computed in float32, as the published models
    were.

    Args:
        relative: int array of any shape.
        bidirectional: the encoder's, with half of the buckets for keys that come after; else
            the decoder's, where keys that come after are all at distance 0.
        count: of buckets.
        max_distance: from which on all share the last bucket.

    Returns:
        int32, of the same shape.

    Raises:
        ConfigError: a max_distance that is not beyond the distances with a bucket of their own.

    Example:
        >>> buckets(np.array([-91, -90, -1, 0, 1, 12]), bidirectional=True).tolist()
        [15, 14, 1, 0, 17, 25]
    """
    base = np.zeros_like(relative)
    if bidirectional:
        count //= 2
        base = np.where(relative > 0, count, 0)
        distance = np.abs(relative)
    else:
        distance = np.maximum(-relative, 0)
    exact = count // 2
    if max_distance <= exact:
        raise errors.ConfigError(
            f"max_distance must be above {exact}, the distances that have a bucket each, got"
            f" {max_distance}; choose fewer buckets."
        )
    ratio = np.maximum(distance, 1).astype(np.float32) / np.float32(exact)
    scale = np.float32(math.log(max_distance / exact))
    steps = np.log(ratio) / scale * np.float32(count - exact)
    far = np.minimum(exact + steps.astype(np.int64), count - 1)
    return np.asarray(base + np.where(distance < exact, distance, far), np.int32)
