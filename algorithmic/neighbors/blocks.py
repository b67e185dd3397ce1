"""Exact search for many queries at once: neighbouring queries share their candidates.

Queries are sorted into blocks that lie close together. The bucket of a block's centre names the
leaves around it; they are ranked by their distance to the block's box, and as many are taken as
the k-th neighbour of the centre suggests. Each query then ranks the points of these leaves. It is
certain when its k-th neighbour is strictly closer than everything that was not looked at.
"""

import concurrent.futures
import os

import jax
import jax.numpy as jnp
import numpy as np

from algorithmic.neighbors import distance, least, tree

LANES = 8  # queries in a block, at most
CHUNK = 1024  # queries at a time
MARGIN = 4  # ranked beyond k, to see whether a tie goes on
SORTED = 16384  # queries whose blocks are sorted by what they need
STEP = 16  # leaves that a chunk looks into are a multiple of this, so that few programs compile
CLOSE = 32  # leaves in which the centre's k-th neighbour is sought
GUESS = 1.2  # the farthest k-th neighbour of a block, over that of its centre
WIDE = (256, 2048)  # leaves of searches through the whole tree


def search(
    index: tree.Index,
    queries: np.ndarray,
    k: int,
    *,
    lanes: int | None = None,
    within=None,
    threads=None,
):
    """(squared distances (m, k), indices (m, k), certain (m,)), ties by index.

    Args:
        index: the tree.
        queries: (m, d) float32, in any order.
        k: neighbours.
        lanes: queries in a block; as many as stand close together unless given.
        within: (m,) squared distances in which k points are known to lie; guessed unless given.
        threads: that share the queries on a CPU; all cores unless given.
    """
    if lanes is None:
        dense = 64 * len(queries) / index.ids.size
        lanes = int(np.clip(1 << int(np.log2(max(dense, 1))), 1, LANES))
    m = len(queries)
    order = nearby(queries, lanes)
    queries = np.append(queries, queries[-1:], axis=0)  # one more, in gaps: nobody reads it
    within = None if within is None else np.append(within, within[-1:])
    near = np.empty((m + 1, k), np.float32)
    at = np.empty((m + 1, k), np.int32)
    sure = np.empty(m + 1, bool)

    def part(order):
        for places, found in _solved(index, queries, order, k, within):
            near[places], at[places], sure[places] = found

    _each(part, np.array_split(order, max(1, len(order) * lanes // SORTED)), threads)
    return near[:m], at[:m], sure[:m]


def nearby(queries: np.ndarray, lanes: int) -> np.ndarray:
    """(blocks, lanes) places of the queries, neighbours together; their number stands in gaps.

    Sorted along one coordinate into slabs, these along the next, and so on.
    """
    m, dims = queries.shape
    blocks = -(-m // lanes)
    slabs = max(1, int(blocks ** (1 / dims)))
    last = -(-blocks // slabs ** (dims - 1))
    order = np.minimum(np.arange(slabs ** (dims - 1) * last * lanes), m)
    queries = np.append(queries, queries[-1:], axis=0)
    for c in range(dims):
        order = order.reshape(slabs**c, -1)
        order = np.take_along_axis(order, queries[order, c].argsort(axis=1), axis=1)
    return order.reshape(-1, lanes)


def _solved(index, queries, order, k, within):
    """Yields (places, (near, at, certain)) of blocks of queries, chunk by chunk."""
    held = queries[order]
    known = None if within is None else within[order].max(axis=1)
    leaves, values, beyond, need = _around(index, held, k, known)
    by_need = np.argsort(need)
    chunk = CHUNK // order.shape[1]
    for start in range(0, len(order), chunk):
        some = by_need[start : start + chunk]
        count = leaves.shape[1]
        want = min(max(int(need[some[-1]]), k + MARGIN), count)
        want = min(-(-want // STEP) * STEP, count)
        rest = beyond[some]
        if want < count:
            rest = np.minimum(rest, values[some, want, None])
        near, at, sure = ranked(index, held[some], leaves[some, :want], rest, k, chunk)
        shape = lambda x: x.reshape(-1, *x.shape[2:])
        yield order[some].reshape(-1), (shape(near), shape(at), shape(sure))


def _around(index, queries, k, known):
    """The leaves around blocks (b, q, d): (leaves (b, n), their bounds, near to far; a bound (b, q)
    of all others for each query; how many leaves to take (b,))."""
    low, high = queries.min(axis=1), queries.max(axis=1)
    centre = (low + high) / 2
    bucket = tree.bucket(index, centre)
    total, lanes, _ = queries.shape
    size = 512  # at a time
    parts = []
    for start in range(0, total, size):
        pick = np.resize(np.arange(start, min(start + size, total)), size)
        here = bucket[pick], low[pick], high[pick]
        keys, reach, named = _ranking(index, *here, queries[pick])
        if known is None:
            close = np.array(_close(index, bucket[pick], centre[pick]))
            close.partition(min(k, close.shape[1]) - 1, axis=1)
            radius = close[:, min(k, close.shape[1]) - 1] * np.float32(GUESS**2 if lanes > 1 else 1)
        else:
            radius = known[pick]
        slot, value, _ = least.least(keys, keys.shape[1])
        need = (value <= radius[:, None]).sum(axis=1)
        leaves = np.take_along_axis(np.asarray(named), slot, axis=1)
        parts.append((leaves, value, np.asarray(reach), need))
    return [np.concatenate(x)[:total] for x in zip(*parts, strict=True)]


@jax.jit
def _close(index, bucket, centre):
    """Squared distances (b, n) of the centres to the points of the leaves nearest to a bucket."""
    few = index.leaves[:, index.near[bucket, :CLOSE]]
    d2 = distance.squared([centre[:, c, None, None] - few[c] for c in range(len(few))], index.zero)
    return d2.reshape(len(centre), -1)


@jax.jit
def _ranking(index, bucket, low, high, queries):
    named = index.near[bucket]
    keys = least.keys(
        tree.bounds((low, high), index.low[:, named], index.high[:, named], index.zero)
    )
    # A leaf not named is `reach` from the bucket; a query lies so far outside of that.
    out = [
        jnp.maximum(
            jnp.maximum(index.bucket_low[c, bucket][:, None] - queries[:, :, c],
                        queries[:, :, c] - index.bucket_high[c, bucket][:, None]), 0.0
        )
        for c in range(low.shape[1])
    ]  # fmt: skip
    out = jnp.sqrt(distance.squared(out, index.zero)) * (1 + tree.SLACK)
    reach = jnp.maximum(index.reach[bucket][:, None] - out, 0.0)
    return keys, reach * reach * (1 - tree.SLACK), named


def ranked(index, queries, leaves, beyond, k, chunk):
    """The k nearest in given leaves.

    Args:
        index: the tree.
        queries: (b, q, d).
        leaves: (b, l) of each block.
        beyond: (b, q) lower bound of the squared distance of all other points.
        k: neighbours.
        chunk: blocks of the compiled program, at least b.

    Returns:
        (squared distances (b, q, k), indices (b, q, k), certain (b, q)).
    """
    blocks, lanes, _ = queries.shape
    if blocks < chunk:
        pad = lambda x: np.resize(x, (chunk, *x.shape[1:]))
        queries, leaves = pad(queries), pad(leaves)
    keys = _keys(index, queries, leaves)
    count = min(k + MARGIN, keys.shape[-1])
    slot, _, rest = least.least(keys.reshape(chunk * lanes, -1), count)
    bits, ids = _exact(index, queries, leaves, slot.reshape(chunk, lanes, count))
    both = np.asarray(bits).astype(np.int64) << 32 | np.asarray(ids)
    both = np.sort(both.reshape(chunk * lanes, count), axis=1)[: blocks * lanes, :k]
    near = (both >> 32).astype(np.int32).view(np.float32)
    at = both.astype(np.int32)
    bound = np.minimum(rest[: blocks * lanes], beyond.reshape(-1))
    # Nothing is left out when both bounds are infinite.
    sure = (near[:, -1] < bound) | np.isinf(bound)
    shape = lambda x: x.reshape(blocks, lanes, *x.shape[1:])
    return shape(near), shape(at), shape(sure)


@jax.jit
def _keys(index, queries, leaves):
    """Squared distances of (b, q, d) queries to the points of (b, l) leaves, as `least.keys`."""
    b, _, dims = queries.shape
    # Each coordinate in a row of its own: one gather of all would leave them interleaved, and the
    # loop below would not be vectorised.
    points = jax.lax.optimization_barrier(
        [index.leaves[c][leaves].reshape(b, 1, -1) for c in range(dims)]
    )
    d2 = distance.squared([queries[:, :, c, None] - points[c] for c in range(dims)], index.zero)
    return least.keys(d2)


@jax.jit
def _exact(index, queries, leaves, slot):
    """Bits of the squared distances, and indices, of chosen places."""
    size = index.ids.shape[1]
    leaf = leaves[jnp.arange(len(leaves))[:, None, None], slot // size]
    place = leaf * size + slot % size
    flat = index.leaves.reshape(len(index.leaves), -1)
    d2 = distance.squared(
        [queries[:, :, c, None] - flat[c][place] for c in range(len(flat))], index.zero
    )
    return jax.lax.bitcast_convert_type(d2, jnp.int32), index.ids.reshape(-1)[place]


def search_wide(index, queries, k, count, threads=None):
    """`search`, query by query and through the whole tree, in `count` leaves of each."""
    chunk = 65536 // count
    count = min(count, index.low.shape[1])
    parts = [queries[start : start + chunk] for start in range(0, len(queries), chunk)]

    def part(some):
        leaves, beyond = tree.around(index, some, some, count, size=chunk)
        return [x[:, 0] for x in ranked(index, some[:, None], leaves, beyond[:, None], k, chunk)]

    return tuple(np.concatenate(x) for x in zip(*_each(part, parts, threads), strict=True))


def _each(call, parts, threads):
    """The results of a call for every part, by threads on a CPU."""
    on_cpu = jax.default_backend() == "cpu"
    threads = (threads or os.cpu_count() or 1) if on_cpu else 1
    if threads == 1 or len(parts) == 1:
        return [call(part) for part in parts]
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        return list(pool.map(call, parts))
