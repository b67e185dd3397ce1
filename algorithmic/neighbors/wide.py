"""Exact search query by query through the whole tree, for those that a bucket's list does not
reach: far from all points, or tied with many."""

import numpy as np

from algorithmic.neighbors import ranking, tree

# Leaves, and the groups of leaves that they are taken from, one try after another.
STEPS = ((96, 3), (384, 8), (2048, 32))
PLACES = 65536  # leaves at a time


def search(
    index: tree.Index, queries: np.ndarray, k: int, leaves: int, groups: int, threads=None
) -> ranking.Found:
    """The neighbours of (m, d) float32 queries in the leaves nearest to each."""
    size = min(PLACES // leaves, 1 << (len(queries) - 1).bit_length())
    leaves = min(leaves, index.low.shape[1])

    def part(start):
        some = queries[start : start + size]
        named, _, beyond = tree.around(index, some, some, leaves, groups, size=size)
        return ranking.among(index, some, named, beyond, k)

    found = ranking.spread(part, range(0, len(queries), size), threads)
    return ranking.Found(*(np.concatenate(x) for x in zip(*found, strict=True)))
