"""A balanced tree of boxes over points of few dimensions, and exact search in it.

The tree is implicit: points in tree order, leaves of equal size one after another, and groups of
neighbouring leaves under one box. Queries come in small blocks that lie close together. A block
takes the groups nearest to its box, then the nearest leaves in them; each query ranks the points
of these leaves. A query is certain when its k-th neighbour is strictly closer than everything
that was not looked at; the others go on with more leaves, and at last against all points.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from algorithmic.neighbors import distance

LEAF = 32  # points in a leaf, at most
GROUP = 8  # points whose nearest stands for them in the first ranking
BLOCK = 8  # queries that share leaves
MARGIN = 4  # ranked beyond k, to see whether a tie goes on


class Index(NamedTuple):
    """The tree; arrays only, so that it passes through jit."""

    leaves: Float[Array, "L d S"]  # coordinates, inf where a leaf is not full
    ids: Int[Array, "L S"]  # places in the points; n where a leaf is not full
    low: Float[Array, "L d"]  # boxes of the leaves
    high: Float[Array, "L d"]
    group_low: Float[Array, "G d"]  # boxes of L/G leaves in a row
    group_high: Float[Array, "G d"]
    zero: Int[Array, ""]  # see `distance.squared`


class Width(NamedTuple):
    """How many boxes a block looks into."""

    groups: int
    leaves: int


def tree_order(points: np.ndarray, levels: int, leaf: int) -> np.ndarray:
    """Places of the points by halving nodes at the median of their widest side.

    Args:
        points: (n, d) float32.
        levels: halvings.
        leaf: places in each of the 2^levels leaves; n at most 2^levels leaf.

    Returns:
        (2^levels, leaf) int64; n where there is no point.
    """
    n = len(points)
    total = leaf << levels
    extended = np.full((total, points.shape[1]), np.inf, np.float32)
    extended[:n] = points
    order = np.arange(total).reshape(1, total)
    for _ in range(levels):
        held = extended[order]
        finite = np.isfinite(held[..., :1])
        high = np.where(finite, held, -np.inf).max(axis=1)
        low = np.where(finite, held, np.inf).min(axis=1)
        side = np.where(high >= low, high - low, -1.0).argmax(axis=1)
        values = np.take_along_axis(held, side[:, None, None], axis=2)[..., 0]
        half = order.shape[1] // 2
        split = np.argpartition(values, half, axis=1)
        order = np.take_along_axis(order, split, axis=1).reshape(-1, half)
    return np.minimum(order, n)


def build(points, *, leaf: int = LEAF) -> Index:
    """The tree of (n, d) points, made on the host.

    Args:
        points: float32, finite.
        leaf: most points in a leaf.
    """
    points = np.ascontiguousarray(points, np.float32)
    n, dims = points.shape
    levels = max(1, int(np.ceil(np.log2(max(n / leaf, 2)))))
    size = -(-n // (1 << levels))
    size = -(-size // GROUP) * GROUP
    order = tree_order(points, levels, size)
    padded = np.concatenate([points, np.full((1, dims), np.inf, np.float32)])
    leaves = padded[order]
    low = leaves.min(axis=1)
    finite = np.isfinite(leaves)
    high = np.where(finite, leaves, -np.inf).max(axis=1)
    high = np.where(np.isfinite(low), high, np.inf)  # an empty leaf is infinitely far
    groups = 1 << ((levels + 1) // 2)
    gathered = lambda box: box.reshape(groups, -1, dims)
    group_high = np.where(np.isfinite(gathered(low)), gathered(high), -np.inf).max(axis=1)
    group_low = gathered(low).min(axis=1)
    group_high = np.where(np.isfinite(group_low), group_high, np.inf)
    return jax.tree.map(
        jnp.asarray,
        Index(
            np.ascontiguousarray(leaves.transpose(0, 2, 1)),
            order.astype(np.int32),
            low,
            high,
            group_low,
            group_high,
            np.int32(0),
        ),
    )


def width(index: Index, k: int, effort: int = 0) -> Width:
    """What a block looks into: the first try, and four times as much with each further one."""
    groups = len(index.group_low)
    below = len(index.low) // groups
    # A ball of k points and a block of queries overlap about this many leaves.
    dims = index.low.shape[1]
    leaves = 2 + int(np.ceil((2.2 + (k / LEAF) ** (1 / dims)) ** dims))
    want = min(leaves * 4**effort, groups * below)
    near = min(max(2 + dims, -(-2 * want // below)) * 2**effort, groups)
    return Width(near, min(want, near * below))


@functools.partial(jax.jit, static_argnames=("k", "wide", "chunk"))
def search(
    index: Index, blocks: Float[Array, "b q d"], k: int, wide: Width, chunk: int = 32
) -> tuple[Float[Array, "b q k"], Int[Array, "b q k"], Bool[Array, "b q"]]:
    """(squared distances, indices, certain) of the k nearest for blocks of nearby queries.

    Args:
        index: the tree.
        blocks: float32 queries.
        k: neighbours.
        wide: boxes to look into.
        chunk: blocks at a time; b is a multiple of it.
    """
    leaf_size, dims = index.ids.shape[1], index.low.shape[1]
    below = len(index.low) // len(index.group_low)
    zero = index.zero
    ranked = min(k + MARGIN, wide.leaves * leaf_size)
    every = wide.groups == len(index.group_low) and wide.leaves == len(index.low)

    def some(q):
        b, m = q.shape[:2]
        ends = [(q[:, :, c].min(axis=1)[:, None], q[:, :, c].max(axis=1)[:, None])
                for c in range(dims)]  # fmt: skip

        def bounds(low, high):  # (b, boxes)
            sides = lambda box: [box[..., c] if box.ndim == 3 else box[None, :, c]
                                 for c in range(dims)]  # fmt: skip
            return distance.to_box(ends, sides(low), sides(high), zero)

        # One box more than is looked into tells how near the rest may be.
        far = bounds(index.group_low, index.group_high)
        beyond = jnp.full((b,), jnp.inf)
        if wide.groups < far.shape[1]:
            near, groups = jax.lax.top_k(-far, wide.groups + 1)
            beyond, groups = -near[:, -1], groups[:, :-1]
        else:
            groups = jnp.broadcast_to(jnp.arange(far.shape[1])[None], far.shape)
        leaves = (groups[:, :, None] * below + jnp.arange(below)[None, None]).reshape(b, -1)
        far = bounds(index.low[leaves], index.high[leaves])
        if wide.leaves < far.shape[1]:
            near, which = jax.lax.top_k(-far, wide.leaves + 1)
            beyond = jnp.minimum(beyond, -near[:, -1])
            leaves = jnp.take_along_axis(leaves, which[:, :-1], axis=1)
        candidates = index.leaves[leaves]  # (b, leaves, d, S)
        d2 = distance.squared(
            [q[:, :, None, None, c] - candidates[:, None, :, c] for c in range(dims)], zero
        ).reshape(b * m, -1, GROUP)
        # The nearest `ranked` points lie in the `ranked` groups with the nearest members.
        count = min(ranked, d2.shape[1])
        _, which = jax.lax.top_k(-d2.min(axis=2), count)
        inner = jnp.take_along_axis(d2, which[:, :, None], axis=1).reshape(b * m, -1)
        near, at = jax.lax.top_k(-inner, ranked)
        near = -near
        group = jnp.take_along_axis(which, at // GROUP, axis=1)
        slot = group * GROUP + at % GROUP
        owner = jnp.repeat(jnp.arange(b), m)[:, None]
        ids = index.ids[leaves[owner, slot // leaf_size], slot % leaf_size]

        # Equal distances stand by index; a tie that may go on past what was ranked is not certain.
        tied = jnp.any(near[:, 1:] == near[:, :-1])
        near, ids = jax.lax.cond(
            tied,
            lambda x: tuple(jax.lax.sort(x, dimension=1, num_keys=2)),
            lambda x: x,
            (near, ids),
        )
        # Points that were not ranked are as far as the last one at least.
        last = near[:, k - 1]
        certain = (last < jnp.repeat(beyond, m)) & (last < near[:, -1])
        if every and ranked == wide.leaves * leaf_size:
            certain = jnp.ones_like(certain)
        shape = lambda x: x[:, :k].reshape(b, m, k)
        return shape(near), shape(ids), certain.reshape(b, m)

    pieces = blocks.reshape(-1, chunk, *blocks.shape[1:])
    out = jax.lax.map(some, pieces)
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), out)
