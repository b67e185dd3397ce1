"""A balanced tree of boxes over points of few dimensions, and what surrounds every part of it.

The tree is implicit: points in tree order, leaves of equal size one after another, and buckets of
`FAN` neighbouring leaves. Every bucket keeps the leaves nearest to its box, near to far, and how
far all others are: a search that starts in a bucket needs no walk through the tree.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from algorithmic.neighbors import distance, least

LEAF = 8  # points in a leaf, at most
FAN = 8  # leaves in a bucket
NEAR = 384  # leaves that a bucket keeps
GROUPS = 16  # groups of leaves that a search through the whole tree looks into
SLACK = 1e-5  # relative, for what rounding can do to a sum or difference of distances


class Index(NamedTuple):
    """The tree, as arrays of the device; `knn` reads it on the host."""

    leaves: Float[Array, "d L S"]  # coordinates, inf where a leaf is not full
    ids: Int[Array, "L S"]  # places in the points; n where a leaf is not full
    low: Float[Array, "d L"]  # boxes of the leaves
    high: Float[Array, "d L"]
    group_low: Float[Array, "d G"]  # boxes of L/G leaves in a row
    group_high: Float[Array, "d G"]
    side: Int[Array, " b"]  # coordinate that halves a node, nodes as in a heap, from 1
    split: Float[Array, " b"]  # where
    bucket_low: Float[Array, "d b"]  # boxes of the buckets
    bucket_high: Float[Array, "d b"]
    near: Int[Array, "b N"]  # the leaves nearest to a bucket, near to far
    far: Float[Array, "b N+1"]  # squared, at most; the last is of all leaves that are not named
    zero: Int[Array, ""]  # see `distance.squared`


def tree_order(points: np.ndarray, levels: int, leaf: int):
    """Places of the points by halving nodes at the median of their widest side.

    Args:
        points: (n, d) float32.
        levels: halvings.
        leaf: places in each of the 2^levels leaves; n at most 2^levels leaf.

    Returns:
        (order (2^levels, leaf) int64, n where there is no point; side (2^levels,) and
        split (2^levels,) of the nodes, numbered as in a heap from 1).
    """
    n = len(points)
    total = leaf << levels
    extended = np.full((total, points.shape[1]), np.inf, np.float32)
    extended[:n] = points
    order = np.arange(total).reshape(1, total)
    sides, splits = np.zeros(1 << levels, np.int32), np.zeros(1 << levels, np.float32)
    for level in range(levels):
        held = extended[order]
        finite = np.isfinite(held[..., :1])
        high = np.where(finite, held, -np.inf).max(axis=1)
        low = np.where(finite, held, np.inf).min(axis=1)
        side = np.where(high >= low, high - low, -1.0).argmax(axis=1)
        values = np.take_along_axis(held, side[:, None, None], axis=2)[..., 0]
        half = order.shape[1] // 2
        place = np.argpartition(values, half, axis=1)
        sides[1 << level : 2 << level] = side
        splits[1 << level : 2 << level] = np.take_along_axis(values, place[:, half, None], 1)[:, 0]
        order = np.take_along_axis(order, place, axis=1).reshape(-1, half)
    return np.minimum(order, n), sides, splits


def build(points) -> Index:
    """The tree of (n, d) points, made on the host.

    Args:
        points: float32, finite.
    """
    points = np.ascontiguousarray(points, np.float32)
    n, dims = points.shape
    levels = max(1, int(np.ceil(np.log2(max(n / LEAF, 2)))))
    size = -(-n // (1 << levels))
    order, side, split = tree_order(points, levels, size)
    padded = np.concatenate([points, np.full((1, dims), np.inf, np.float32)])
    leaves = padded[order]
    low = leaves.min(axis=1)
    high = np.where(np.isfinite(leaves), leaves, -np.inf).max(axis=1)
    high = np.where(np.isfinite(low), high, np.inf)  # an empty leaf is infinitely far
    group_low, group_high = _around(low, high, 1 << ((levels + 1) // 2))
    count = max(1, (1 << levels) // FAN)
    bucket_low, bucket_high = _around(low, high, count)
    across = lambda box: np.ascontiguousarray(box.T)
    index = Index(
        np.ascontiguousarray(leaves.transpose(2, 0, 1)),
        order.astype(np.int32),
        *map(across, (low, high, group_low, group_high)),
        side[:count],
        split[:count],
        *map(across, (bucket_low, bucket_high)),
        np.zeros((count, 0), np.int32),
        np.zeros((count, 1), np.float32),
        np.int32(0),
    )
    index = jax.tree.map(jnp.asarray, index)
    near, far, beyond = around(index, bucket_low, bucket_high, min(NEAR, 1 << levels))
    far = np.concatenate([far, beyond[:, None]], axis=1)
    return index._replace(near=jnp.asarray(near), far=jnp.asarray(far))


def _around(low, high, count):
    """Boxes of `count` runs of the leaves."""
    gather = lambda box: box.reshape(count, -1, box.shape[-1])
    finite = np.isfinite(gather(low))
    top = np.where(finite, gather(high), -np.inf).max(axis=1)
    bottom = gather(low).min(axis=1)
    return bottom, np.where(np.isfinite(bottom), top, np.inf)


def around(
    index: Index, low: np.ndarray, high: np.ndarray, count: int, groups: int = GROUPS, size=256
):
    """The leaves nearest to boxes, through the whole tree.

    Args:
        index: the tree; its lists are not used.
        low: (m, d) float32, corners of the boxes; a query is a box of one point.
        high: (m, d).
        count: leaves wanted.
        groups: groups of leaves that are looked into.
        size: boxes at a time.

    Returns:
        (leaves (m, count) int32, near to far; lower bounds of their squared distances (m, count)
        float32, and of those of all that were left out (m,)).
    """
    total = index.group_low.shape[1]
    below = index.low.shape[1] // total
    groups = min(max(groups, -(-count // below)), total)
    near, value, beyond = [], [], []
    for start in range(0, len(low), size):
        ends = [np.resize(x[start : start + size], (size, x.shape[1])) for x in (low, high)]
        keys = _to_groups(index, *ends)
        at, _, far = least.least(keys, min(groups, total))
        # A group's leaves stand in a row: NumPy takes them as they are.
        take = lambda box, at=at: [
            np.asarray(x).reshape(total, below).take(at, axis=0).reshape(size, -1) for x in box
        ]
        keys = _to_leaves(index.zero, *ends, take(index.low), take(index.high))
        slot, of_slot, rest = least.least(keys, count)
        slot = np.asarray(slot)
        found = np.take_along_axis(np.asarray(at), slot // below, 1) * below + slot % below
        near.append(found.astype(np.int32))
        value.append(of_slot)
        beyond.append(np.minimum(far, rest))
    return tuple(np.concatenate(x)[: len(low)] for x in (near, value, beyond))


@jax.jit
def _to_groups(index, low, high):
    far = bounds((low, high), index.group_low[:, None], index.group_high[:, None], index.zero)
    return least.keys(far)


@jax.jit
def _to_leaves(zero, low, high, leaves_low, leaves_high):
    return least.keys(bounds((low, high), leaves_low, leaves_high, zero))


def bounds(box, low, high, zero):
    """Lower bound of squared distances, (m, L), of boxes (m, d) to boxes (d, m or 1, L)."""
    ends = [(box[0][:, c, None], box[1][:, c, None]) for c in range(len(low))]
    return distance.to_box(ends, list(low), list(high), zero)


def bucket(index: Index, points: np.ndarray) -> np.ndarray:
    """The bucket on whose side of every split a point lies; (m,) integers of (m, d)."""
    side, split = np.asarray(index.side), np.asarray(index.split)
    node = np.ones(len(points), np.intp)
    flat, row = points.reshape(-1), np.arange(len(points)) * points.shape[1]
    for _ in range(len(side).bit_length() - 1):
        right = flat.take(row + side.take(node)) >= split.take(node)
        node += node
        node += right
    # Of the smallest type: two bytes are sorted by counting.
    return (node - len(side)).astype(np.min_scalar_type(len(side) - 1))


def outside(index: Index, queries: np.ndarray, bucket: np.ndarray) -> np.ndarray:
    """How far (m,) the queries lie outside of their buckets' boxes, rounded up."""
    total = np.zeros(len(queries), np.float32)
    for c, (low, high) in enumerate(zip(index.bucket_low, index.bucket_high, strict=True)):
        low, high = np.asarray(low).take(bucket), np.asarray(high).take(bucket)
        out = np.maximum(np.maximum(low - queries[:, c], queries[:, c] - high), 0)
        total += out * out
    return np.sqrt(total) * np.float32(1 + SLACK)


def reach(far: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """Lower bound of the squared distance of leaves that are `far` (squared) from the box, for a
    query that lies so far outside of it."""
    rest = np.sqrt(far) * np.float32(1 - SLACK) - outside
    return np.maximum(rest, 0) ** 2 * np.float32(1 - SLACK)
