"""Exact search for many queries at once: those of one bucket share its list of leaves.

How many leaves of the list a bucket needs is guessed from the k-th neighbour of its centre. What
lies outside of a bucket's box, but on its side of every split, knows how far.
"""

import functools

import jax
import numpy as np

from algorithmic.neighbors import distance, ranking, tree

LANES = 16  # queries in a block
CHUNK = 6144  # queries at a time
FEWEST = 1024  # queries that are worth a thread
CENTRES = 1024  # buckets at a time
CLOSE = 16  # leaves, at least, in which the k-th neighbour of a bucket's centre is sought
GUESS = 1.3  # the farthest k-th neighbour of a bucket's queries, over that of its centre


def search(
    index: tree.Index, queries: np.ndarray, k: int, *, within=None, threads=None
) -> ranking.Found:
    """The neighbours of (m, d) float32 queries, in any order; most of them are certain.

    Args:
        index: the tree.
        queries: finite.
        k: neighbours.
        within: (m,) squared distances in which k points are known to lie; guessed unless given.
        threads: that share the queries; all cores unless given.
    """
    m = len(queries)
    parts = min(ranking.workers(threads), -(-m // FEWEST))
    pieces = np.array_split(queries, parts)
    bucket = np.concatenate(ranking.spread(lambda x: tree.bucket(index, x), pieces, threads))
    order = np.argsort(bucket, kind="stable")
    held = bucket.take(order).astype(np.intp)
    begin = np.flatnonzero(np.diff(held, prepend=-1))  # of every bucket that has queries
    found = ranking.Found(
        np.empty((m, k), np.float32), np.empty((m, k), np.int32), np.empty(m, bool)
    )

    def part(some):
        first, stop = begin[some[0]], begin[some[-1] + 1] if some[-1] + 1 < len(begin) else m
        mine = order[first:stop]
        known = None if within is None else within[mine]
        runs = begin[some] - first
        for places, rows in _solved(index, queries[mine], held[begin[some]], runs, k, known):
            at = mine.take(places)
            for whole, piece in zip(found, rows, strict=True):
                whole[at] = piece

    cuts = np.searchsorted(begin, m * np.arange(1, parts) // parts)
    runs = [some for some in np.split(np.arange(len(begin)), cuts) if len(some)]
    ranking.spread(part, runs, threads)
    return found


def _solved(index, queries, bucket, begin, k, within):
    """Yields (places, `ranking.Found`) of queries that stand bucket by bucket, chunk by chunk."""
    m = len(queries)
    count = np.diff(begin, append=m)
    outside = tree.outside(index, queries, np.repeat(bucket, count))
    if within is None:
        reach = np.sqrt(_centres(index, bucket, k)) * np.float32(GUESS)
        reach += np.maximum.reduceat(outside, begin)
    else:
        reach = np.maximum.reduceat(np.sqrt(within) * np.float32(1 + tree.SLACK) + outside, begin)
    far = np.asarray(index.far)
    need = _within(far, bucket, reach * reach)

    each = -(-count // LANES)  # blocks of every bucket
    owner = np.repeat(np.arange(len(bucket)), each)
    nth = np.arange(len(owner)) - np.repeat(np.cumsum(each) - each, each)
    first, lane = begin[owner] + nth * LANES, np.arange(LANES)
    real = lane < (count[owner] - nth * LANES)[:, None]
    place = np.where(real, first[:, None] + lane, m - 1)
    by_need = np.argsort(need[owner], kind="stable")
    blocks = min(CHUNK, 1 << (place.size - 1).bit_length()) // LANES
    near = np.asarray(index.near)
    for start in range(0, len(owner), blocks):
        some = by_need[start : start + blocks]
        of, here = bucket[owner[some]], place.take(some, axis=0)
        want = max(int(need[owner[some[-1]]]), k + ranking.MARGIN)
        want = min(-(-want // ranking.STEP) * ranking.STEP, near.shape[1])
        lanes = np.flatnonzero(real[some]).astype(np.int32)
        places = here.reshape(-1).take(lanes)
        rest = np.minimum(far[of, want], far[of, -1])  # of the named that are not read, and others
        beyond = tree.reach(rest[lanes // LANES], outside[places])
        found = ranking.nearest(
            index, queries.take(here, axis=0), near[of, :want], lanes, beyond, k, blocks
        )
        yield places, found


def _within(far, bucket, limit):
    """How many leaves (b,) of the buckets' lists are no farther than (b,) limits, by halving."""
    width = far.shape[1]
    flat, row = far.reshape(-1), bucket * width
    count = np.zeros(len(bucket), np.intp)
    step = 1 << (width - 1).bit_length()
    while step := step // 2:
        there = np.minimum(count + step, width - 1)
        count = np.where(flat.take(row + there - 1) <= limit, there, count)
    return count


def _centres(index, bucket, k):
    """Squared distances (b,) from the buckets' centres to what is about their k-th neighbour."""
    size = min(CENTRES, 1 << (len(bucket) - 1).bit_length())
    leaves = min(max(CLOSE, -(-k // 4)), index.near.shape[1])
    out = []
    for start in range(0, len(bucket), size):
        some = bucket[start : start + size]
        close = np.array(_close(index, np.resize(some, size), leaves))[: len(some)]
        kth = min(k, close.shape[1]) - 1
        close.partition(kth, axis=1)
        out.append(close[:, kth])
    return np.concatenate(out)


@functools.partial(jax.jit, static_argnames="leaves")
def _close(index, bucket, leaves):
    """Squared distances (b, n) of the centres to the points of the leaves nearest to them."""
    few = index.leaves[:, index.near[bucket, :leaves]]
    centre = (index.bucket_low[:, bucket] + index.bucket_high[:, bucket]) / 2
    away = [x[:, None, None] - points for x, points in zip(centre, few, strict=True)]
    return distance.squared(away, index.zero).reshape(len(bucket), -1)
