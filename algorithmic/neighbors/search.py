"""The k nearest neighbours of queries among points: `knn`."""

import concurrent.futures
import os

import jax
import jax.numpy as jnp
import numpy as np

from algorithmic.neighbors import brute, tree
from fl_jax.core import errors

TREE_DIMS, TREE_POINTS = 4, 16384  # where the tree wins over tiles
EFFORTS = 3  # tries in the tree before the rest goes against all points


def knn(queries, points, k: int, *, index: tree.Index | None = None, threads: int | None = None):
    """Exact neighbours in Euclidean distance, near to far, ties by index.

    The distances are float32 and equal, bit for bit on a CPU, to those of a loop that adds squared
    differences in the order of the coordinates.

    Args:
        queries: (m, d), finite; taken as float32.
        points: (n, d), finite; taken as float32; n >= k.
        k: neighbours of each query.
        index: `tree.build(points)`, to search the same points again; d <= 4 makes one anyway.
        threads: CPU threads that share the queries; all cores unless given.

    Returns:
        (distances (m, k) float32, indices (m, k) int32) as NumPy arrays.

    Raises:
        ConfigError: k out of range, or shapes that do not fit.
        DataError: a coordinate that is not finite.

    Example:
        >>> distances, indices = knn([[0.0, 0.0]], [[3.0, 4.0], [1.0, 0.0], [0.0, 1.0]], k=2)
        >>> distances.tolist(), indices.tolist()
        ([[1.0, 1.0]], [[1, 2]])
    """
    queries, points = check(queries, points, k)
    if not len(queries):
        return np.zeros((0, k), np.float32), np.zeros((0, k), np.int32)
    if index is None and (points.shape[1] > TREE_DIMS or len(points) < TREE_POINTS):
        near, at = brute.brute(queries, points, k, np.int32(0))
        return np.sqrt(np.asarray(near)), np.asarray(at)
    index = tree.build(points) if index is None else index
    near, at = _in_tree(index, queries, points, k, threads)
    return np.sqrt(near), at


def check(queries, points, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Both as float32 arrays.

    Raises:
        ConfigError, DataError: what `knn` refuses.
    """
    queries, points = (np.asarray(a, np.float32) for a in (queries, points))
    if queries.ndim != 2 or points.ndim != 2 or queries.shape[1:] != points.shape[1:]:
        raise errors.ConfigError(
            f"queries and points should be (m, d) and (n, d), but {queries.shape} and"
            f" {points.shape} came; give both as rows of the same features."
        )
    if not 1 <= k <= len(points):
        raise errors.ConfigError(f"k must lie in 1..{len(points)}, the number of points, got {k}.")
    for name, values in (("queries", queries), ("points", points)):
        bad = ~np.isfinite(values).all(axis=1)
        if bad.any():
            raise errors.DataError(
                f"{int(bad.sum())} of the {name} hold NaN or infinity, the first in row"
                f" {int(bad.argmax())}; remove them: nothing is put in their place."
            )
    return queries, points


def _in_tree(index, queries, points, k, threads):
    near = np.empty((len(queries), k), np.float32)
    at = np.empty((len(queries), k), np.int32)
    rest = np.arange(len(queries))
    for effort in range(EFFORTS):
        wide = tree.width(index, k, effort)
        if wide.leaves * index.ids.shape[1] < k:
            continue
        found = _blocks(index, queries[rest], k, wide, threads)
        sure = found[2]
        near[rest[sure]], at[rest[sure]] = found[0][sure], found[1][sure]
        rest = rest[~sure]
        if not len(rest):
            return near, at
    padded = _pad(queries[rest])
    found = brute.brute(padded, points, k, np.int32(0))
    near[rest], at[rest] = (np.asarray(f)[: len(rest)] for f in found)
    return near, at


def _pad(rows: np.ndarray) -> np.ndarray:
    """Rows up to a power of two, so that few programs are compiled."""
    size = max(16, 1 << (len(rows) - 1).bit_length())
    return np.concatenate([rows, np.repeat(rows[:1], size - len(rows), axis=0)])


def _blocks(index, queries, k, wide, threads):
    """`tree.search` of queries in any order; they are sorted into blocks and back."""
    on_cpu = jax.default_backend() == "cpu"
    threads = (threads or os.cpu_count() or 1) if on_cpu else 1
    count = len(queries)
    blocks = -(-count // tree.BLOCK)
    levels = max(0, (blocks - 1).bit_length())
    order = tree.tree_order(queries, levels, tree.BLOCK).reshape(-1)
    order = order[order < count]  # the tree's gaps close; blocks stay close together
    chunk = 32 if on_cpu else 1024
    # Few shapes: as many blocks as 2^p or 3 * 2^p hold, for each thread.
    share = -(-blocks // threads)
    chunks = _round(-(-share // chunk))
    total = chunks * chunk * threads * tree.BLOCK
    filled = np.concatenate([order, np.repeat(order[-1:], total - count)])
    parts = queries[filled].reshape(threads, chunks * chunk, tree.BLOCK, -1)

    def part(rows):
        return jax.tree.map(np.asarray, tree.search(index, jnp.asarray(rows), k, wide, chunk))

    if threads == 1:
        found = [part(parts[0])]
    else:
        with concurrent.futures.ThreadPoolExecutor(threads) as pool:
            found = list(pool.map(part, parts))
    near, at, sure = (
        np.concatenate([f[i].reshape(-1, *f[i].shape[2:]) for f in found])[:count] for i in range(3)
    )
    back = np.empty(count, np.int64)
    back[order] = np.arange(count)
    return near[back], at[back], sure[back]


def _round(n: int) -> int:
    """The next number of the form 2^p or 3 * 2^p."""
    power = 1 << max(0, (n - 1).bit_length())
    return 3 * power // 4 if power >= 4 and n <= 3 * power // 4 else power
