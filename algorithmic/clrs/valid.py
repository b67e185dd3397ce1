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
        DataError: an output that points to no node, or one that is missing.

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
    return _NEAREST[name](_compact(spec, inputs), _compact(spec, said))


def check(name: str, inputs: Mapping, outputs: Mapping) -> bool:
    """Whether these outputs solve the problem; arguments as in `nearest`.

    Raises:
        ConfigError: an algorithm that has one right answer only.
        DataError: an output that points to no node.

    Example:
        >>> import numpy as np
        >>> square = np.array([[0, 1, 1, 0], [1, 0, 0, 1], [1, 0, 0, 1], [0, 1, 1, 0]])
        >>> [check("bfs", {"A": square, "s": 0}, {"pi": pi}) for pi in ([0, 0, 0, 1], [0, 0, 0, 2])]
        [True, True]
        >>> check("bfs", {"A": square, "s": 0}, {"pi": [0, 0, 1, 1]})
        False
    """
    found = nearest(name, inputs, outputs)
    said = _compact(specs.of(name), outputs)
    return all(np.array_equal(found[probe], said[probe]) for probe in found)


def _compact(spec, given: Mapping) -> dict[str, np.ndarray | int]:
    """Probes as arrays, one-hots as an index, classes as indices."""
    return {probe: _one(probe, spec[probe], value) for probe, value in given.items()}


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
