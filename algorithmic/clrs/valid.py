"""Right answers where a problem has several: the benchmark accepts only what its own code happens
to find (the lowest index among equals).

NumPy and SciPy only, one sample at a time, in float64. Two lengths or costs are equal if they are
to a relative 1e-6, the rounding of float32 inputs; keys and weights that are only compared are
equal if they are equal.
"""

import functools
from collections.abc import Callable, Mapping

import numpy as np

from algorithmic.clrs import specs
from algorithmic.clrs.solutions import geometry, graphs, paths, sequences, tables
from fl_jax.core import errors

Answer = dict[str, np.ndarray | int]

_NEAREST: dict[str, Callable[[Mapping, Mapping], Answer]] = {
    "activity_selector": sequences.activities,
    "bfs": functools.partial(paths.from_source, hops=True),
    **dict.fromkeys(("bellman_ford", "dijkstra", "dag_shortest_paths"), paths.from_source),
    "floyd_warshall": paths.between_all,
    "mst_kruskal": graphs.kruskal,
    "mst_prim": graphs.prim,
    "dfs": graphs.depth_first,
    "topological_sort": graphs.topological,
    "strongly_connected_components": graphs.components,
    **dict.fromkeys(specs.SORTS, sequences.sort),
    "minimum": sequences.minimum,
    "quickselect": sequences.quickselect,
    "binary_search": sequences.binary_search,
    "find_maximum_subarray_kadane": sequences.subarray,
    **dict.fromkeys(specs.MATCHERS, sequences.match),
    "task_scheduling": sequences.schedule,
    "lcs_length": tables.subsequence,
    "matrix_chain_order": tables.matrix_chain,
    "optimal_bst": tables.search_tree,
    **dict.fromkeys(("graham_scan", "jarvis_march"), geometry.hull),
}
LENGTHS = ("bfs", "bellman_ford", "dijkstra", "dag_shortest_paths", "floyd_warshall")
NAMES = tuple(name for name in specs.ALGORITHMS if name in _NEAREST)
"""All but articulation_points, bridges and segments_intersect, which have one right answer."""


def nearest(name: str, inputs: Mapping, said: Mapping) -> Answer:
    """A right answer that agrees with what was said; the same if that is right.

    It is the one with most cells in common where choices are independent (paths, tables, hulls,
    components, single positions) or the answers are a matroid's bases or a dynamic program's best
    (spanning forests of edges, activities); elsewhere (parents, orders, sorted chains of equal
    keys, schedules) it follows what was said as long as that leads to a right answer.

    Args:
        name: one of `NAMES`.
        inputs: probes as `clrs.trace` takes them: `A` (n, n), `s` one-hot or an index, `key` (n,).
        said: outputs as it gives them: pointers (n,), masks (n, n), one-hot (n,) or an index,
            classes one-hot or as indices.

    Returns:
        The outputs, a one-hot and a class as an index.

    Raises:
        ConfigError: an algorithm that has one right answer only.
        DataError: an output that points to no node, a shape that does not fit, an input or output
            that is missing, or lengths below 0, with which no path need be the shortest.

    Example:
        >>> import numpy as np
        >>> square = np.array([[0, 1, 1, 0], [1, 0, 0, 1], [1, 0, 0, 1], [0, 1, 1, 0]])
        >>> nearest("bfs", {"A": square, "s": 0}, {"pi": np.array([3, 0, 0, 2])})["pi"].tolist()
        [0, 0, 0, 2]
    """
    errors.one_of("algorithm with several right answers", name, NAMES)
    spec = specs.of(name)
    wanted = list(specs.stage(name, specs.OUTPUT))
    if set(said) != set(wanted):
        raise errors.DataError(f"{name} has the outputs {wanted}, got {list(said)}.")
    given = _inputs(name, spec, inputs)
    return _NEAREST[name](given, _compact(spec, said, _nodes(name, spec, given)))


def check(name: str, inputs: Mapping, outputs: Mapping) -> bool:
    """Whether these outputs solve the problem; arguments as in `nearest`.

    Raises:
        ConfigError: an algorithm that has one right answer only.
        DataError: as `nearest`.

    Example:
        >>> import numpy as np
        >>> square = np.array([[0, 1, 1, 0], [1, 0, 0, 1], [1, 0, 0, 1], [0, 1, 1, 0]])
        >>> [check("bfs", {"A": square, "s": 0}, {"pi": pi}) for pi in ([0, 0, 0, 1], [0, 0, 0, 2])]
        [True, True]
        >>> check("bfs", {"A": square, "s": 0}, {"pi": [0, 0, 1, 1]})
        False
    """
    found = nearest(name, inputs, outputs)
    spec = specs.of(name)
    said = _compact(spec, outputs, _nodes(name, spec, _inputs(name, spec, inputs)))
    return all(np.array_equal(found[probe], said[probe]) for probe in found)


def _inputs(name, spec, given: Mapping) -> dict[str, np.ndarray | int]:
    """The inputs as `_compact` has them; `pos` and `adj` need not be there."""
    wanted = [k for k in specs.stage(name, specs.INPUT) if k not in ("pos", "adj")]
    missing = [k for k in wanted if k not in given]
    if missing:
        raise errors.DataError(f"{name} also needs the input {missing[0]!r}; it takes {wanted}.")
    nodes = _nodes(name, spec, given)
    free = {"p"} if name == "optimal_bst" else set()  # with the padding of its last or without
    found = _compact(spec, {k: given[k] for k in wanted if k not in free}, nodes)
    found |= {k: np.asarray(given[k]) for k in free}
    if name in LENGTHS and (found["A"] < 0).any():
        raise errors.DataError(f"A of {name} holds lengths below 0, for which nothing is checked.")
    return found


def _nodes(name, spec, given: Mapping) -> int:
    """How many there are."""
    lead = "q" if name == "optimal_bst" else next(k for k in ("A", "key", "p", "s", "d", "x")
            if k in given and spec[k].kind != specs.MASK_ONE)  # fmt: skip
    return len(np.atleast_1d(given[lead]))


def _compact(spec, given: Mapping, nodes: int) -> dict[str, np.ndarray | int]:
    """Probes as arrays, one-hots as an index, classes as indices."""
    found = {probe: _one(probe, spec[probe], value) for probe, value in given.items()}
    for probe, value in found.items():
        p = spec[probe]
        shape = {specs.NODE: (nodes,), specs.EDGE: (nodes, nodes), specs.GRAPH: ()}[p.location]
        if p.kind == specs.MASK_ONE:
            if not 0 <= value < nodes:
                raise errors.DataError(
                    f"{probe} must be a node from 0 to {nodes - 1}, got {value}."
                )
        elif value.shape != shape:
            raise errors.DataError(
                f"{probe} must have shape {shape} for {nodes} nodes, got {value.shape}."
            )
    return found


def _one(probe, p, value):
    value = np.asarray(value)
    if p.kind == specs.MASK_ONE:
        value = int(value) if value.ndim == 0 else int(np.argmax(value))
    elif p.kind == specs.CATEGORICAL:
        rank = {specs.NODE: 1, specs.EDGE: 2, specs.GRAPH: 0}[p.location]
        # The class "no cell" is stored as -1.
        value = np.argmax(np.abs(value), axis=-1) if value.ndim > rank else value.astype(int)
    elif p.kind in (specs.POINTER, specs.PERMUTATION):
        value = value.astype(int)
        if value.size and not 0 <= value.min() <= value.max() < value.shape[-1]:
            raise errors.DataError(
                f"{probe} must point to nodes 0 to {value.shape[-1] - 1}, got"
                f" {value.min()} to {value.max()}."
            )
    return value
