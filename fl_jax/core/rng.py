"""Keys: every draw belongs to a name and an id, never to a position.

A client's randomness is a function of the run's key, the round and the client's id, so it is
the same on one device or eight, in any order of clients, and after a resume.
"""

import zlib

import jax
import numpy as np

from fl_jax.core import errors
from fl_jax.core.types import Array, Key


def fold(key: Key[Array, ""], *ids) -> Key[Array, ""]:
    """The key that belongs to these ids: integers (Python or traced) or names.

    A name is folded in as its CRC-32, so `fold(key, "train", round, client)` reads as it means
    and two purposes never share a stream.

    Raises:
        ConfigError: a number, such as a seed, in place of a key.

    Example:
        >>> import jax
        >>> key = jax.random.key(0)
        >>> bool(fold(key, "train", 3) == fold(key, "train", 3))
        True
        >>> bool(fold(key, "train", 3) == fold(key, "attack", 3))
        False
    """
    if isinstance(key, int | np.integer):
        raise errors.ConfigError(
            f"a random key should come, but the number {key} did; take jax.random.key({key})."
        )
    for i in ids:
        key = jax.random.fold_in(key, zlib.crc32(i.encode()) if isinstance(i, str) else i)
    return key
