"""Sorting, searching, choosing and matching where keys are equal or several choices are best."""

import numpy as np

from algorithmic.clrs.solutions.paths import CLOSE


def sort(inputs, said):
    """A sorted chain of predecessors; equal keys stand in the said order as far as it goes."""
    key, pred = inputs["key"], said["pred"]
    out, last = np.empty(len(key), int), -1
    for value in np.unique(key):
        left = [int(v) for v in np.flatnonzero(key == value)]
        while left:
            wanted = [v for v in left if (pred[v] == v if last < 0 else pred[v] == last)]
            heads = [v for v in left if pred[v] == v or pred[v] not in left]
            node = (wanted or heads or left)[0]
            out[node] = node if last < 0 else last
            last = node
            left.remove(node)
    return {"pred": out}


def minimum(inputs, said):
    """Any of the least keys."""
    return _one_of(inputs["key"] == np.min(inputs["key"]), "min", said)


def quickselect(inputs, said):
    """Any key equal to the one of rank n // 2."""
    key = inputs["key"]
    return _one_of(key == np.sort(key)[len(key) // 2], "median", said)


def binary_search(inputs, said):
    """Any key equal to the target; without one, the first above it, or the last of all."""
    key, target = inputs["key"], inputs["target"]
    equal = key == target
    if not np.any(equal):
        equal = np.arange(len(key)) == min(np.searchsorted(key, target), len(key) - 1)
    return _one_of(equal, "return", said)


def match(inputs, said):
    """Any place where the needle occurs; without one, the needle's own head."""
    key, rows = inputs["key"], int(np.sum(inputs["string"] == 0))
    needle = key[rows:]
    found = np.zeros(len(key), bool)
    for i in range(rows - len(needle) + 1):
        found[i] = np.array_equal(key[i : i + len(needle)], needle)
    found[rows] = not np.any(found)
    return _one_of(found, "match", said)


def _one_of(right, probe, said):
    return {probe: int(said[probe]) if right[said[probe]] else int(np.argmax(right))}


def subarray(inputs, said):
    """Any stretch of the largest sum; the one that shares an end with the said one, if any."""
    total = np.concatenate([[0.0], np.cumsum(inputs["key"], dtype=np.float64)])
    sums = total[None, 1:] - total[:-1, None]
    at = np.arange(len(sums))
    sums = np.where(at[:, None] <= at[None], sums, -np.inf)
    best = np.max(sums)
    shared = (at[:, None] == said["start"]).astype(int) + (at[None] == said["end"])
    shared = np.where(sums >= best - CLOSE * abs(best), shared, -1)
    start, end = np.unravel_index(np.argmax(shared), shared.shape)
    return {"start": int(start), "end": int(end)}


def activities(inputs, said):
    """As many activities as can be, of these choices the one with most of the said ones.

    Activities in the order of their ends: the best of the first i + 1 is the best of the first i,
    or the i-th with the best of those that end before it begins [CLRS 16.1].
    """
    begin, end = inputs["s"], inputs["f"]
    order = np.lexsort((begin, end))
    worth = len(order) + 1 + (said["selected"] == 1)  # one more activity outweighs all agreement
    ends, best = end[order], np.zeros(len(order) + 1, int)
    earlier = [min(i, int(np.searchsorted(ends, begin[v], "right"))) for i, v in enumerate(order)]
    for i, v in enumerate(order):
        best[i + 1] = max(best[i], best[earlier[i]] + worth[v])
    out, i = np.zeros(len(order), np.int8), len(order)
    while i:
        if best[i] == best[i - 1]:
            i -= 1
            continue
        out[order[i - 1]] = 1
        i = earlier[i - 1]
    return {"selected": out}


def schedule(inputs, said):
    """What the benchmark's rule gives with equal weights in another order: heaviest first, each
    at the next free time if its deadline lies behind that; said ones first among equals.

    The rule never moves a task, so it need not find the heaviest schedule of CLRS problem 16-4:
    heavier ones are not accepted, for the benchmark asks for this one.
    """
    deadline, weight, wanted = inputs["d"], inputs["w"], said["selected"] == 1
    out, time = np.zeros(len(weight), np.int8), 0
    for v in np.lexsort((deadline, ~wanted, -weight)):
        if time < deadline[v]:
            out[v] = 1
            time += 1
    return {"selected": out}
