"""The k nearest neighbours of queries among points: `knn`."""

import jax
import jax.numpy as jnp
import numpy as np

from algorithmic.neighbors import brute, buckets, tree, wide
from fl_jax.core import errors

TREE_DIMS, TREE_POINTS = 4, 16384  # where the tree wins over tiles
TREE_K = 256  # more neighbours than that do not fit into its lists


def knn(queries, points, k: int, *, index: tree.Index | None = None, threads: int | None = None):
    """Exact neighbours in Euclidean distance, near to far, ties by index.

    The distances are float32 and equal, bit for bit on a CPU, to those of a loop that adds squared
    differences in the order of the coordinates. The work is shared by host and device, so that it
    cannot be traced: under `jit` take `knn_traced`.

    Args:
        queries: (m, d), finite; taken as float32.
        points: (n, d), finite; taken as float32; n >= k.
        k: neighbours of each query.
        index: `build(points)`, to search the same points again; without it many points of d <= 4
            get one for this call.
        threads: CPU threads that share the queries; all cores unless given.

    Returns:
        (distances (m, k) float32, indices (m, k) int32) as NumPy arrays.

    Raises:
        ConfigError: k out of range, shapes that do not fit, or an index of other points.
        DataError: a coordinate that is not finite, or points so far apart or so near together that
            the squares of their distances leave float32 (some 1e19 and 1e-19).

    Example:
        >>> distances, indices = knn([[0.0, 0.0]], [[3.0, 4.0], [1.0, 0.0], [0.0, 1.0]], k=2)
        >>> distances.tolist(), indices.tolist()
        ([[1.0, 1.0]], [[1, 2]])
    """
    queries, points = check(queries, points, k)
    if index is not None:
        _belongs(index, points)
    if not len(queries):
        return np.zeros((0, k), np.float32), np.zeros((0, k), np.int32)
    small = index is None and (points.shape[1] > TREE_DIMS or len(points) < TREE_POINTS)
    if small or k > TREE_K:
        near, at = brute.brute(queries, points, k, np.int32(0))
        return np.sqrt(np.asarray(near)), np.asarray(at)
    index = tree.build(points) if index is None else index
    near, at = _in_tree(index, queries, points, k, threads)
    return np.sqrt(near), at


def knn_traced(queries, points, k: int):
    """`knn` by tiles as a function of JAX, for use under `jit`; nothing is checked.

    Its distances are not differentiable.

    Args:
        queries: (m, d) float32, finite.
        points: (n, d) float32, finite; n >= k. Squared distances must stay within float32.
        k: neighbours of each query, static.

    Returns:
        (distances (m, k) float32, indices (m, k) int32), as `knn` gives them.

    Example:
        >>> search = jax.jit(lambda q, p: knn_traced(q, p, 2))
        >>> distances, indices = search(jnp.zeros((1, 2)), jnp.asarray([[3.0, 4.0], [1.0, 0.0]]))
        >>> distances.tolist(), indices.tolist()
        ([[1.0, 5.0]], [[1, 0]])
    """
    queries, points = jax.lax.stop_gradient((queries, points))
    # Zero for every finite point, which the compiler does not know: see `distance.squared`.
    zero = jnp.isnan(points[0, 0]).astype(jnp.int32)
    near, at = brute.brute(queries, points, k, zero)
    return jnp.sqrt(near), at


def _belongs(index: tree.Index, points: np.ndarray) -> None:
    """Refuses an index whose size, dimensions or first points are others.

    Raises:
        ConfigError: it was built on other points.
    """
    dims = index.leaves.shape[0]
    count = int(np.isfinite(np.asarray(index.leaves[0])).sum())
    same = (count, dims) == points.shape
    if same:
        ids = np.asarray(index.ids[0])
        real = ids < count
        same = np.array_equal(points[ids[real]].T, np.asarray(index.leaves[:, 0])[:, real])
    if not same:
        raise errors.ConfigError(
            f"the index was built on other points, ({count}, {dims}), than the {points.shape} that"
            " came; build one on these."
        )


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
    if not isinstance(k, int | np.integer):
        raise errors.ConfigError(f"k must be a whole number, got {k!r}.")
    if not queries.shape[1]:
        raise errors.ConfigError("points need one coordinate at least, and these have none.")
    if not 1 <= k <= len(points):
        raise errors.ConfigError(f"k must lie in 1..{len(points)}, the number of points, got {k}.")
    for name, values in (("queries", queries), ("points", points)):
        bad = ~np.isfinite(values).all(axis=1)
        if bad.any():
            raise errors.DataError(
                f"{int(bad.sum())} of the {name} hold NaN or infinity, the first in row"
                f" {int(bad.argmax())}; remove them: nothing is put in their place."
            )
    if len(queries):
        _in_range(queries, points)
    return queries, points


def _in_range(queries, points) -> None:
    """Refuses coordinates between which the largest squared distance is no float32 number."""
    high = np.maximum(queries.max(axis=0), points.max(axis=0)).astype(np.float64)
    low = np.minimum(queries.min(axis=0), points.min(axis=0))
    across = float(np.linalg.norm(high - low))
    limits = np.finfo(np.float32)
    if across and not float(limits.tiny) <= across * across < float(limits.max):
        raise errors.DataError(
            f"the points and queries span {across:.3g}, whose square leaves the range of float32;"
            " scale the features, or take their logarithms."
        )


def _in_tree(index, queries, points, k, threads):
    near, at, sure = buckets.search(index, queries, k, threads=threads)
    rest = np.flatnonzero(~sure)
    if len(rest):  # what was found bounds how far they are
        known = near[rest, -1]
        near[rest], at[rest], sure = buckets.search(
            index, queries[rest], k, within=known, threads=threads
        )
        rest = rest[~sure]
    for leaves, groups in wide.STEPS:  # far from all points, or tied with many
        if len(rest):
            near[rest], at[rest], sure = wide.search(
                index, queries[rest], k, leaves, groups, threads
            )
            rest = rest[~sure]
    if len(rest):
        found = brute.brute(_pad(queries[rest]), points, k, np.int32(0))
        near[rest], at[rest] = (np.asarray(f)[: len(rest)] for f in found)
    return near, at


def _pad(rows: np.ndarray) -> np.ndarray:
    """Rows up to a power of two, so that few programs are compiled."""
    size = max(16, 1 << (len(rows) - 1).bit_length())
    return np.concatenate([rows, np.repeat(rows[:1], size - len(rows), axis=0)])
