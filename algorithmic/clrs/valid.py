"""Whether an answer is a right one, where a problem has several: the benchmark accepts only what
its own code happens to find (the lowest index among equals).

NumPy and SciPy only, one sample at a time, in float64. A path or a tree is as good as the best one
if its length is, to a relative 1e-6, the rounding of float32 inputs.
"""

from collections.abc import Callable, Mapping

import numpy as np
from scipy.sparse import csgraph

from algorithmic.clrs import specs
from fl_jax.core import errors

CLOSE = 1e-6  # of path and tree lengths, relative


def check(name: str, inputs: Mapping, outputs: Mapping) -> bool:
    """Whether these outputs solve the problem.

    Args:
        name: one of `NAMES`.
        inputs: probes as `clrs.trace` takes them: `A` (n, n), `s` one-hot or an index, `key` (n,).
        outputs: probes as it gives them: pointers (n,), masks (n, n), one-hot (n,) or an index.

    Raises:
        ConfigError: an algorithm that has one right answer only, or is not checked yet.

    Example:
        >>> import numpy as np
        >>> square = np.array([[0, 1, 1, 0], [1, 0, 0, 1], [1, 0, 0, 1], [0, 1, 1, 0]])
        >>> [check("bfs", {"A": square, "s": 0}, {"pi": pi}) for pi in ([0, 0, 0, 1], [0, 0, 0, 2])]
        [True, True]
        >>> check("bfs", {"A": square, "s": 0}, {"pi": [0, 0, 1, 1]})
        False
    """
    errors.one_of("algorithm with several right answers", name, NAMES)
    arrays = lambda found: {k: np.asarray(v) for k, v in found.items()}
    return bool(_CHECKS[name](arrays(inputs), arrays(outputs)))


def _index(value) -> int:
    return int(value) if value.ndim == 0 else int(np.argmax(value))


def _lengths(A, s):
    """Shortest distances from s in float64; weights are positive, 0 is no edge."""
    return csgraph.dijkstra(csgraph.csgraph_from_dense(A.astype(np.float64)), indices=s)


def _shortest(inputs, outputs, *, hops: bool = False):
    """Every node points at a predecessor on one of its shortest paths, which as all weights are
    positive makes a tree; nodes out of reach, and the source, point at themselves."""
    A, s, pi = inputs["A"], _index(inputs["s"]), outputs["pi"].astype(int)
    A = (A != 0).astype(np.float64) if hops else A
    d = _lengths(A, s)
    at = np.arange(len(pi))
    alone = ~np.isfinite(d) | (at == s)
    if np.any(pi[alone] != at[alone]):
        return False
    v = at[~alone]
    step = A[pi[v], v]
    return np.all(step > 0) and np.allclose(d[pi[v]] + step, d[v], rtol=CLOSE, atol=0)


def _tree(A, edges):
    """Whether the edges (pairs u < v) are a lightest spanning forest of A."""
    edges = sorted({(min(e), max(e)) for e in edges})
    found = np.zeros_like(A, dtype=np.float64)
    for u, v in edges:
        if A[u, v] <= 0:
            return False
        found[u, v] = A[u, v]
    best = csgraph.minimum_spanning_tree(np.triu(A.astype(np.float64), 1))
    parts = lambda graph: csgraph.connected_components(graph, directed=False)[0]
    as_many = len(edges) == best.nnz and parts(csgraph.csgraph_from_dense(found)) == parts(best)
    return as_many and np.isclose(found.sum(), best.sum(), rtol=CLOSE, atol=0)


def _kruskal(inputs, outputs):
    chosen = outputs["in_mst"] == 1
    return np.array_equal(chosen, chosen.T) and _tree(inputs["A"], np.argwhere(chosen).tolist())


def _prim(inputs, outputs):
    """A lightest tree of the source's component, by parents; the others point at themselves."""
    A, s, pi = inputs["A"], _index(inputs["s"]), outputs["pi"].astype(int)
    reached = np.isfinite(_lengths(A, s))
    at = np.arange(len(pi))
    if pi[s] != s or np.any(pi[~reached] != at[~reached]):
        return False
    inside = np.where(reached[:, None] & reached[None, :], A, 0)
    return _tree(inside, [(int(v), int(pi[v])) for v in at if reached[v] and v != s])


def _topological(inputs, outputs):
    """A chain through all nodes, its last pointing at itself, with every edge along it."""
    after, n = outputs["topo"].astype(int), len(outputs["topo"])
    order, node = [], _index(outputs["topo_head"])
    while len(order) < n and node not in order:
        order.append(node)
        node = after[node]
    if len(order) < n or after[order[-1]] != order[-1]:
        return False
    rank = np.argsort(order)
    u, v = np.nonzero(inputs["A"])
    return np.all(rank[u] < rank[v])


def _components(inputs, outputs):
    """Nodes share a label if and only if each reaches the other."""
    label = outputs["scc_id"]
    _, own = csgraph.connected_components(inputs["A"], directed=True, connection="strong")
    return np.array_equal(label[:, None] == label[None, :], own[:, None] == own[None, :])


def _sorted(inputs, outputs):
    """A chain of predecessors through all nodes, along which keys do not fall."""
    key, pred = inputs["key"], outputs["pred"].astype(int)
    at = np.arange(len(pred))
    heads = at[pred == at]
    if len(heads) != 1 or len(set(pred[at != heads[0]])) != len(pred) - 1:
        return False
    node, seen = at[~np.isin(at, pred[at != heads[0]])], 0
    while seen < len(pred) and len(node) == 1 and pred[node[0]] != node[0]:
        node, seen = pred[node], seen + 1
    return seen == len(pred) - 1 and np.all(key[pred] <= key)


def _minimum(inputs, outputs):
    return inputs["key"][_index(outputs["min"])] == np.min(inputs["key"])


_CHECKS: dict[str, Callable] = {
    "bfs": lambda i, o: _shortest(i, o, hops=True),
    **dict.fromkeys(("bellman_ford", "dijkstra", "dag_shortest_paths"), _shortest),
    "mst_kruskal": _kruskal,
    "mst_prim": _prim,
    "topological_sort": _topological,
    "strongly_connected_components": _components,
    **dict.fromkeys(specs.SORTS, _sorted),
    "minimum": _minimum,
}
NAMES = tuple(_CHECKS)
