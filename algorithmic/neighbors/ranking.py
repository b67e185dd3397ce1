"""The k nearest points of given leaves, and whether no other point can be among them.

Queries that stand together share their leaves. The distances to the nearest point of every leaf
are compiled, as vectors over the leaves; each query then reads the points of its few nearest
leaves. It is certain when its k-th neighbour is strictly closer than everything it did not read.
"""

import concurrent.futures
import functools
import os
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from algorithmic.neighbors import distance, least, tree

FEW = 6  # leaves that a query reads, beyond k / 2
MARGIN = 4  # ranked beyond k, to see whether a tie goes on
STEP = 16  # leaves that blocks look into are a multiple of this, so that few programs compile


class Found(NamedTuple):
    """Neighbours of m queries."""

    near: np.ndarray  # (m, k) float32, squared distances, near to far, ties by index
    at: np.ndarray  # (m, k) int32, indices
    certain: np.ndarray  # (m,) bool


def nearest(
    index: tree.Index,
    queries: np.ndarray,
    leaves: np.ndarray,
    lanes: np.ndarray,
    beyond: np.ndarray,
    k: int,
    blocks: int,
) -> Found:
    """The k nearest in given leaves.

    Args:
        index: the tree.
        queries: (b, q, d), in blocks that share leaves.
        leaves: (b, l) of each block.
        lanes: (m,) int32, which of the b q queries are asked for; the others fill gaps.
        beyond: (m,) lower bound of the squared distance of all points in other leaves.
        k: neighbours.
        blocks: of the compiled program, at least b.
    """
    width, dims = leaves.shape[1], queries.shape[2]
    leaves = leaves.astype(np.intp)
    slot, _, unread = least.least(
        _to_leaves(index, queries, leaves, blocks), min(k // 2 + FEW, width), lanes
    )
    of_block = lanes // queries.shape[1] * width
    read = leaves.reshape(-1).take(of_block[:, None] + slot)
    mine = queries.reshape(-1, dims).take(lanes, axis=0)
    return among(index, mine, read, np.minimum(unread, beyond), k)


def among(index: tree.Index, queries, leaves, beyond, k: int) -> Found:
    """The k nearest of all points of (m, l) leaves, to (m, d) queries; else as `nearest`."""
    d2 = _to_points(index, queries, leaves)
    m, width = d2.shape
    slot, _, rest = least.least(least.keys(d2), min(k + MARGIN, width))
    size = index.ids.shape[1]
    row = np.arange(m)[:, None]
    bits = d2.reshape(-1).view(np.int32).take(row * width + slot)
    leaf = leaves.reshape(-1).take(row * leaves.shape[1] + slot // size)
    ids = np.asarray(index.ids).reshape(-1).take(leaf * size + slot % size)
    both = np.sort(bits.astype(np.int64) << 32 | ids, axis=1)[:, :k]
    near = (both >> 32).astype(np.int32).view(np.float32)
    bound = np.minimum(rest, beyond)
    # Nothing is left out when all bounds are infinite.
    return Found(near, both.astype(np.int32), (near[:, -1] < bound) | np.isinf(bound))


def _to_leaves(index, queries, leaves, blocks):
    """Squared distances of the queries to the nearest point of each of their leaves, (b q, l), as
    `least.keys`."""
    b, lanes, _ = queries.shape
    by_coordinate = np.ascontiguousarray(np.moveaxis(queries, 2, 0))
    points = [table.take(leaves, axis=0) for table in np.asarray(index.leaves)]
    if b < blocks:
        pad = lambda x, shape: np.resize(x, shape)
        by_coordinate = np.stack([pad(x, (blocks, lanes)) for x in by_coordinate])
        points = [pad(x, (blocks, *x.shape[1:])) for x in points]
    found = np.asarray(_least_of_places(index.zero, by_coordinate, *points))[:b]
    return np.ascontiguousarray(np.moveaxis(found, 1, 2)).reshape(b * lanes, -1)


@jax.jit
def _least_of_places(zero, queries, *points):
    """Keys (b, l, q) of (d, b, q) queries and, per coordinate, (b, l, S) points.

    A vector is the queries of a block, to which a point is broadcast.
    """
    found = None
    for place in range(points[0].shape[2]):
        away = [q[:, None] - p[:, :, place, None] for q, p in zip(queries, points, strict=True)]
        d2 = distance.squared(away, zero)
        found = d2 if found is None else jnp.minimum(found, d2)
    return least.keys(found, axis=1)


def _to_points(index, queries, leaves):
    """Squared distances of (m, d) queries to all points of (m, l) leaves, (m, l S), as
    `distance.squared` has them."""
    total = None
    for c, table in enumerate(np.asarray(index.leaves)):
        away = table.take(leaves, axis=0).reshape(len(leaves), -1)
        np.subtract(queries[:, c, None], away, out=away)
        np.multiply(away, away, out=away)
        total = away if total is None else np.add(total, away, out=total)
    return total


def workers(threads: int | None) -> int:
    """How many threads share the queries: all cores unless given."""
    return threads or os.cpu_count() or 1


def spread(call, parts, threads: int | None) -> list:
    """The results of a call for every part, by `workers`."""
    count = workers(threads)
    if count == 1 or len(parts) == 1:
        return [call(part) for part in parts]
    return list(_pool(count).map(call, parts))


@functools.cache
def _pool(threads: int):
    """Kept: the memory that a thread works in would be given back and asked for with every call."""
    return concurrent.futures.ThreadPoolExecutor(threads)
