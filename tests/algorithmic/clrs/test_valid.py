"""Every right answer is accepted, wrong ones are not: by hand and against all answers."""

import itertools

import numpy as np
import pytest

from algorithmic.clrs import valid
from fl_jax.core import errors

SQUARE = np.array([[0, 1, 1, 0], [1, 0, 0, 1], [1, 0, 0, 1], [0, 1, 1, 0]], float)
POINTERS = [np.array(p) for p in itertools.product(range(4), repeat=4)]


def accepted(name, inputs, probe="pi"):
    return [p.tolist() for p in POINTERS if valid.check(name, inputs, {probe: p})]


def test_shortest_paths_that_tie():
    assert accepted("bfs", {"A": SQUARE, "s": 0}) == [[0, 0, 0, 1], [0, 0, 0, 2]]
    assert accepted("dijkstra", {"A": SQUARE, "s": np.eye(4)[0]}) == [[0, 0, 0, 1], [0, 0, 0, 2]]
    longer = SQUARE.copy()
    longer[2, 3] = longer[3, 2] = 1.5
    assert accepted("bellman_ford", {"A": longer, "s": 0}) == [[0, 0, 0, 1]]
    cut = np.diag([0, 1.0, 1, 0])  # no edge but self loops: all are alone
    assert accepted("bfs", {"A": cut, "s": 0}) == [[0, 1, 2, 3]]


def test_spanning_trees_that_tie():
    # Of a square with equal sides any three are a tree; rooted at 0, each has one set of parents.
    assert len(accepted("mst_prim", {"A": SQUARE, "s": 0})) == 4
    heavy = SQUARE.copy()
    heavy[0, 1] = heavy[1, 0] = 2
    assert accepted("mst_prim", {"A": heavy, "s": 0}) == [[0, 3, 0, 2]]
    trees = 0
    pairs = [(0, 1), (0, 2), (1, 3), (2, 3), (0, 3)]
    for k in range(6):
        for chosen in itertools.combinations(pairs, k):
            mask = np.zeros((4, 4), np.int8)
            for u, v in chosen:
                mask[u, v] = mask[v, u] = 1
            trees += valid.check("mst_kruskal", {"A": SQUARE}, {"in_mst": mask})
    assert trees == 4


def test_orders_and_components():
    A = np.zeros((3, 3))
    A[0, 1] = A[0, 2] = 1
    check = lambda topo, head: valid.check(
        "topological_sort", {"A": A}, {"topo": np.array(topo), "topo_head": head}
    )
    assert check([1, 2, 2], np.eye(3)[0]) and check([2, 1, 1], 0)
    assert not check([0, 0, 1], 2) and not check([1, 1, 2], 0) and not check([1, 0, 2], 0)
    cycle = np.array([[0, 1, 0], [1, 0, 1], [0, 0, 0]])
    scc = lambda label: valid.check(
        "strongly_connected_components", {"A": cycle}, {"scc_id": np.array(label)}
    )
    assert scc([0, 0, 2]) and scc([1, 1, 2]) and not scc([0, 0, 0]) and not scc([0, 1, 2])


def test_equal_keys_may_stand_in_any_order():
    key = np.array([0.5, 0.1, 0.5, 0.9])
    assert accepted("quicksort", {"key": key}, "pred") == [[1, 1, 0, 2], [2, 1, 1, 0]]
    check = lambda i: valid.check("minimum", {"key": np.array([2.0, 1, 1])}, {"min": i})
    assert check(1) and check(np.array([0, 0, 1])) and not check(0)


def test_an_algorithm_with_one_answer_is_refused():
    with pytest.raises(errors.ConfigError, match="several right answers"):
        valid.check("binary_search", {}, {})
