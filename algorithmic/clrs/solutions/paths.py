"""Shortest paths: any predecessor on a shortest path is as good as another, node by node."""

import numpy as np
from scipy.sparse import csgraph

CLOSE = 1e-6  # of lengths, relative: inputs are float32


def near(value, best):
    """Whether lengths are the best ones but for the rounding of float32 inputs."""
    return np.isclose(value, best, rtol=CLOSE, atol=0)


def take(allowed, said):
    """Each row's said column where it is allowed, else its first allowed column.

    Args:
        allowed: (..., n, n) bool, at least one true per row.
        said: (..., n) columns.
    """
    fits = np.take_along_axis(allowed, said[..., None], axis=-1)[..., 0]
    return np.where(fits, said, np.argmax(allowed, axis=-1))


def lengths(A, s=None):
    """Shortest distances in float64, from s or between all; 0 in A is no edge."""
    return csgraph.dijkstra(csgraph.csgraph_from_dense(A.astype(np.float64)), indices=s)


def from_source(inputs, said, *, hops: bool = False):
    """Parents on shortest paths from s; the source and nodes out of reach point at themselves."""
    A = inputs["A"].astype(np.float64)
    A = (A != 0).astype(np.float64) if hops else A
    d = lengths(A, inputs["s"])
    at = np.arange(len(d))
    alone = ~np.isfinite(d) | (at == inputs["s"])
    d = np.where(np.isfinite(d), d, 1e300)
    allowed = (A > 0) & near(d[:, None] + A, d[None, :])
    allowed = np.where(alone[:, None], np.eye(len(d), dtype=bool), allowed.T)
    return {"pi": take(allowed, said["pi"])}


def between_all(inputs, said):
    """The node before j on a shortest path from i; i itself where there is no path.

    A node with an edge to itself asks for the shortest closed walk, as in the benchmark, which
    begins with the weight of that edge; one without points at itself.
    """
    A = inputs["A"].astype(np.float64)
    n = len(A)
    d = lengths(A)
    reached = np.isfinite(d)
    through = np.where(reached, d, 1e300)[:, None, :] + A.T[None]  # i, j, the node before j
    through = np.where(A.T[None] > 0, through, np.inf)
    best = np.where(np.eye(n, dtype=bool), np.min(through, axis=2), d)
    loop = np.diagonal(A) > 0
    asked = np.where(np.eye(n, dtype=bool), loop[:, None], reached)
    start = np.eye(n, dtype=bool)[:, None, :]
    finite = np.where(np.isfinite(best), best, 1e300)[..., None]
    allowed = np.where(asked[..., None], near(through, finite), start)
    return {"Pi": take(allowed, said["Pi"])}
