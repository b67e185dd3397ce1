"""Sparse graphs as padded edge lists, and random ones of three kinds, as SALSA-CLRS has them.

Graphs are undirected; every edge is listed in both directions and every node has a self loop, as
`adj` of the benchmark has it. Edges are ordered by receiver, then by sender. Drawn with NumPy on
the host: the Delaunay triangulation has no counterpart in JAX.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from fl_jax.core import errors
from fl_jax.core.types import Array, Bool, Float, Int

KINDS = ("erdos_renyi", "small_world", "delaunay")


class Graph(NamedTuple):
    """A batch of graphs with N places for nodes and E for edges."""

    nodes: Int[Array, " B"]
    senders: Int[Array, "E B"]
    receivers: Int[Array, "E B"]
    reverse: Int[Array, "E B"]  # the place of the same edge in the other direction
    real: Bool[Array, "E B"]  # false on padding, whose senders and receivers are 0
    weight: Float[Array, "E B"]  # 0 on self loops and padding


class Edges(NamedTuple):
    """One graph: pairs i < j once, without self loops."""

    nodes: int
    pairs: np.ndarray  # (m, 2) int
    weight: np.ndarray  # (m,) float32


def pack(graphs: Sequence[Edges], edges: int | None = None) -> Graph:
    """A batch of graphs side by side.

    Args:
        graphs: at least one.
        edges: E; None = as many as the largest needs.

    Raises:
        DataError: a graph with more edges than E, or one that is not simple.

    Example:
        >>> one = Edges(3, np.array([[0, 2]]), np.array([0.5], np.float32))
        >>> pack([one]).senders[:, 0].tolist(), pack([one]).receivers[:, 0].tolist()
        ([0, 2, 1, 0, 2], [0, 0, 1, 2, 2])
    """
    each = [_directed(g) for g in graphs]
    most = max(len(senders) for senders, *_ in each)
    edges = most if edges is None else edges
    if most > edges:
        raise errors.DataError(f"a graph has {most} directed edges and room is for {edges}.")
    fill = lambda v: np.pad(v, (0, edges - len(v)))
    stack = lambda k: np.stack([fill(one[k]) for one in each], axis=1)
    real = [np.ones(len(senders), bool) for senders, *_ in each]
    return Graph(
        np.asarray([g.nodes for g in graphs], np.int32),
        stack(0),
        stack(1),
        stack(2),
        np.stack([fill(v) for v in real], axis=1),
        stack(3),
    )


def _directed(graph: Edges):
    """(senders, receivers, reverse, weight) with self loops, in order."""
    i, j = np.asarray(graph.pairs, np.int64).reshape(-1, 2).T
    bad = (i >= j) | (i < 0) | (j >= graph.nodes)
    if np.any(bad) or len(np.unique(i * graph.nodes + j)) < len(i):
        raise errors.DataError(
            f"a graph of {graph.nodes} nodes needs each pair once, as 0 <= i < j < {graph.nodes}."
        )
    loops = np.arange(graph.nodes)
    senders, receivers = np.concatenate([i, j, loops]), np.concatenate([j, i, loops])
    weight = np.concatenate([graph.weight, graph.weight, np.zeros(graph.nodes, np.float32)])
    order = np.lexsort((senders, receivers))
    # The k-th edge by (sender, receiver) is the k-th one by (receiver, sender) turned round.
    reverse = np.empty(len(order), np.int32)
    turned = np.lexsort((receivers[order], senders[order]))
    reverse[turned] = np.arange(len(order), dtype=np.int32)
    kept = senders[order].astype(np.int32), receivers[order].astype(np.int32)
    return *kept, reverse, weight[order].astype(np.float32)


def dense(graph: Graph, size: int) -> Float[np.ndarray, "B N N"]:
    """Weights as matrices, as the traces read them."""
    out = np.zeros((len(graph.nodes), size, size), np.float32)
    _, batch = np.nonzero(graph.real)
    out[batch, graph.senders[graph.real], graph.receivers[graph.real]] = graph.weight[graph.real]
    return out


def draw(
    rng: np.random.Generator, kind: str, nodes: int, *, weighted: bool = True, tries: int = 200
) -> Edges:
    """A random connected graph: of those of its kind, the first that is connected.

    Args:
        rng: decides the draws.
        kind: one of `KINDS`.
            erdos_renyi: p = c ln n / n, c uniform in [1, 2]: around and above the threshold at
            which such graphs become connected.
            small_world: a ring [Watts & Strogatz 1998] with 4 or 6 neighbours, each edge rewired
            with a probability uniform in [0.05, 0.2].
            delaunay: the triangulation of uniform points in the unit square.
        nodes: n, at least 4.
        weighted: uniform weights in (0, 1]; else 1.
        tries: graphs to try.

    Raises:
        ConfigError: an unknown kind or too few nodes.
        DataError: none of the graphs was connected.
    """
    errors.one_of("kind of graph", kind, KINDS)
    if nodes < 4:
        raise errors.ConfigError(f"random sparse graphs need at least 4 nodes, got {nodes}.")
    for _ in range(tries):
        pairs = _PAIRS[kind](rng, nodes)
        if _connected(pairs, nodes):
            weight = 1 - rng.random(len(pairs)) if weighted else np.ones(len(pairs))
            return Edges(nodes, pairs, weight.astype(np.float32))
    raise errors.DataError(f"of {tries} graphs of {nodes} nodes none was connected ({kind}).")


def _erdos_renyi(rng, n):
    p = min(1.0, rng.uniform(1, 2) * np.log(n) / n)
    i, j = np.triu_indices(n, 1)
    kept = rng.random(len(i)) < p
    return np.stack([i[kept], j[kept]], axis=1)


def _small_world(rng, n):
    """Each edge of the ring keeps its first end and gets, with some probability, another second."""
    half = min(int(rng.integers(2, 4)), (n - 1) // 2)
    p = rng.uniform(0.05, 0.2)
    found = {
        (min(i, (i + k) % n), max(i, (i + k) % n)) for i in range(n) for k in range(1, half + 1)
    }
    for i, j in sorted(found):
        if rng.random() >= p:
            continue
        other = int(rng.integers(n))
        pair = (min(i, other), max(i, other))
        if other != i and pair not in found:
            found.remove((i, j))
            found.add(pair)
    return np.asarray(sorted(found))


def _delaunay(rng, n):
    from scipy import spatial

    corners = spatial.Delaunay(rng.random((n, 2))).simplices
    pairs = np.concatenate([corners[:, [0, 1]], corners[:, [0, 2]], corners[:, [1, 2]]])
    return np.unique(np.sort(pairs, axis=1), axis=0)


_PAIRS: dict[str, Callable] = {
    "erdos_renyi": _erdos_renyi,
    "small_world": _small_world,
    "delaunay": _delaunay,
}


def _connected(pairs, n) -> bool:
    from scipy import sparse

    ones = np.ones(len(pairs))
    matrix = sparse.coo_array((ones, (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    return sparse.csgraph.connected_components(matrix, directed=False)[0] == 1
