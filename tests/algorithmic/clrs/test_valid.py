"""Every right answer is accepted, wrong ones are not: by hand and against all answers."""

import itertools

import numpy as np
import pytest

from algorithmic import clrs
from algorithmic.clrs import specs, valid
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
        valid.check("bridges", {}, {})


@pytest.mark.parametrize(
    "name, inputs, said",
    [
        ("quickselect", {"key": np.arange(3.0)}, {"median": 9}),
        ("minimum", {"key": np.arange(3.0)}, {"min": -3}),  # the first, counted from the end
        ("activity_selector", {"s": np.zeros(2), "f": np.ones(2)}, {"selected": np.ones(1)}),
        ("bfs", {"A": np.ones((3, 3)), "s": 0}, {"pi": [0, 0]}),
        ("bfs", {"A": np.ones((2, 2)), "s": 7}, {"pi": [0, 0]}),
        ("bfs", {"s": 0}, {"pi": [0, 0]}),
        ("bellman_ford", {"A": np.array([[0, -1.0], [1.0, 0]]), "s": 0}, {"pi": [0, 0]}),
    ],
)
def test_what_cannot_be_checked_is_refused(name, inputs, said):
    with pytest.raises(errors.DataError):
        valid.check(name, inputs, said)


def test_a_pointer_to_nowhere_is_refused():
    with pytest.raises(errors.DataError, match="pi must point to nodes 0 to 3, got 0 to 4"):
        valid.check("bfs", {"A": SQUARE, "s": 0}, {"pi": [0, 0, 0, 4]})
    with pytest.raises(errors.DataError, match=r"outputs \['pi'\], got \[\]"):
        valid.check("bfs", {"A": SQUARE, "s": 0}, {})


def visits(A, order):
    """Parents of the search that prefers nodes in this order."""
    pi, seen = np.arange(len(A)), set()

    def visit(u):
        seen.add(u)
        for v in order:
            if A[u, v] and v not in seen:
                pi[v] = u
                visit(v)

    for root in order:
        if root not in seen:
            visit(root)
    return pi.tolist()


@pytest.mark.parametrize("seed", range(3))
def test_depth_first_forests_are_those_of_some_order(seed):
    A = np.random.default_rng(seed).random((4, 4)) < 0.4
    every = {tuple(visits(A, order)) for order in itertools.permutations(range(4))}
    assert {tuple(p) for p in accepted("dfs", {"A": A})} == every


def test_topological_orders_are_all_of_them():
    A = np.zeros((4, 4))
    A[0, 1] = A[0, 2] = A[2, 3] = 1
    found = [
        (p.tolist(), head)
        for p in POINTERS
        for head in range(4)
        if valid.check("topological_sort", {"A": A}, {"topo": p, "topo_head": head})
    ]
    assert sorted(found) == [([1, 2, 3, 3], 0), ([2, 1, 3, 1], 0), ([2, 3, 1, 3], 0)]


def test_activities_are_as_many_as_can_be():
    inputs = {"s": np.array([0, 1, 0, 3, 2.0]), "f": np.array([2, 3, 4, 4, 3.0])}
    masks = [np.array(m) for m in itertools.product((0, 1), repeat=5)]
    found = [
        np.flatnonzero(m).tolist()
        for m in masks
        if valid.check("activity_selector", inputs, {"selected": m})
    ]
    assert found == [[0, 3, 4]]
    inputs["s"][4] = 1.5  # now two is the most
    found = [
        set(np.flatnonzero(m))
        for m in masks
        if valid.check("activity_selector", inputs, {"selected": m})
    ]
    assert sorted(map(sorted, found)) == [[0, 3], [1, 3], [3, 4]]


def test_tables_take_any_best_choice():
    # "ab" and "ba": at (1, 1) up and left lose nothing; equal letters may also be passed by.
    letters = np.array([0, 1, 1, 0])
    string = np.array([0, 0, 1, 1])
    right = {}
    for i, j in itertools.product(range(2), range(2)):
        for b in range(4):
            table = valid.nearest(
                "lcs_length", {"key": letters, "string": string}, {"b": np.full((4, 4), b)}
            )["b"]
            right.setdefault((i, j), set()).add(int(table[i, 2 + j]))
            assert table[0, 0] == table[3, 3] == 3
    assert right == {(0, 0): {1, 2}, (0, 1): {0}, (1, 0): {0}, (1, 1): {1, 2}}
    equal = {"p": np.ones(4)}
    split = np.zeros((4, 4), int)
    split[1, 2], split[2, 3] = 1, 2
    assert all(
        valid.check("matrix_chain_order", equal, {"s": _with(split, (1, 3), k)}) == (k in (1, 2))
        for k in range(4)
    )
    tree = {"p": np.array([0.25, 0.25, 0]), "q": np.array([0.125, 0.25, 0.125])}
    root = np.zeros((3, 3), int)
    root[1, 2] = 1
    rooted = lambda k: valid.check("optimal_bst", tree, {"root": _with(root, (0, 2), k)})
    assert [rooted(k) for k in range(3)] == [True, True, False]


def _with(table, cell, value):
    out = table.copy()
    out[cell] = value
    return out


def test_any_occurrence_of_a_needle_any_best_stretch_any_equal_key():
    text = {"key": np.array([0, 1, 0, 1, 0, 1]), "string": np.array([0, 0, 0, 0, 1, 1])}
    for name in specs.MATCHERS:
        found = [i for i in range(6) if valid.check(name, text, {"match": i})]
        assert found == [0, 2]
    missing = {**text, "key": np.array([0, 1, 0, 1, 2, 1])}
    assert valid.check("kmp_matcher", missing, {"match": 4})
    stretch = lambda a, b: valid.check(
        "find_maximum_subarray_kadane", {"key": [0.5, -0.5, 0.5, -1.0]}, {"start": a, "end": b}
    )
    best = [(a, b) for a in range(4) for b in range(4) if stretch(a, b)]
    assert best == [(0, 0), (0, 2), (2, 2)]
    search = lambda target, i: valid.check(
        "binary_search", {"key": np.array([0.1, 0.3, 0.3, 0.7]), "target": target}, {"return": i}
    )
    assert [i for i in range(4) if search(0.3, i)] == [1, 2]
    assert [i for i in range(4) if search(0.2, i)] == [1]
    assert [i for i in range(4) if search(0.9, i)] == [3]
    median = lambda i: valid.check(
        "quickselect", {"key": np.array([0.3, 0.1, 0.3, 0.9])}, {"median": i}
    )
    assert [i for i in range(4) if median(i)] == [0, 2]


def test_equal_weights_may_be_scheduled_in_any_order():
    tasks = {"d": np.array([1.0, 1, 2]), "w": np.array([0.5, 0.5, 0.2])}
    masks = [np.array(m) for m in itertools.product((0, 1), repeat=3)]
    found = [m.tolist() for m in masks if valid.check("task_scheduling", tasks, {"selected": m})]
    assert found == [[0, 1, 1], [1, 0, 1]]


def test_points_on_the_sides_of_a_hull_are_free():
    # A square, the middle of a side, the middle of all, and a corner twice.
    points = {
        "x": np.array([0, 1, 1, 0, 0.5, 0.5, 1]),
        "y": np.array([0, 0, 1, 1, 0.0, 0.5, 1]),
    }
    masks = [np.array(m) for m in itertools.product((0, 1), repeat=7)]
    found = [m.tolist() for m in masks if valid.check("jarvis_march", points, {"in_hull": m})]
    assert len(found) == 2 * 3 and all(m[0] and m[1] and m[3] and not m[5] for m in found)
    assert all(m[2] or m[6] for m in found)


def test_paths_between_all_that_tie():
    right = valid.nearest("floyd_warshall", {"A": SQUARE}, {"Pi": np.full((4, 4), 3)})["Pi"]
    assert right.tolist() == [[0, 0, 0, 1], [1, 1, 3, 1], [2, 3, 2, 2], [1, 3, 3, 3]]
    looped = SQUARE + np.diag([0.5, 3, 0, 0])
    right = valid.nearest("floyd_warshall", {"A": looped}, {"Pi": np.zeros((4, 4), int)})["Pi"]
    assert right[0, 0] == 0 and right[1, 1] == 0 and right[2, 2] == 2


def agreement(a, b):
    return sum(np.sum(np.asarray(a[k]) == np.asarray(b[k])) for k in a)


@pytest.mark.parametrize("name", ["bfs", "dijkstra", "strongly_connected_components", "quicksort"])
def test_the_nearest_right_answer_is_the_nearest(name):
    inputs = {"A": SQUARE, "s": 0} if name != "quicksort" else {"key": np.array([2.0, 1, 1, 3])}
    if name == "strongly_connected_components":
        inputs = {"A": np.array([[0, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 1], [0, 0, 1, 0]])}
    probe = next(iter(specs.stage(name, specs.OUTPUT)))
    every = [{probe: np.array(p)} for p in accepted(name, inputs, probe)]
    assert len(every) > 1
    for said in POINTERS:
        found = valid.nearest(name, inputs, {probe: said})
        assert valid.check(name, inputs, found)
        if name != "quicksort":  # a chain is only followed
            assert agreement(found, {probe: said}) == max(
                agreement(one, {probe: said}) for one in every
            )


# One right answer with probability 1: whatever is said, the nearest right answer is the official.
UNIQUE = (
    "bellman_ford", "dijkstra", "dag_shortest_paths", "floyd_warshall", "mst_kruskal", "mst_prim",
    *specs.SORTS, "minimum", "quickselect", "find_maximum_subarray_kadane", "task_scheduling",
    "matrix_chain_order", "optimal_bst", "graham_scan", "jarvis_march",
)  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n == "dfs" else pytest.mark.slow) for n in valid.NAMES],
)
def test_the_benchmarks_answers_are_right_and_alone_where_nothing_ties(name):
    import jax

    runs = clrs.sample(name, jax.random.key(5), 4, 8)
    random = np.random.default_rng(0)
    for i in range(4):
        inputs = {k: np.asarray(v[i]) for k, v in runs.inputs.items()}
        outputs = {k: np.asarray(v[i]) for k, v in runs.outputs.items()}
        assert valid.check(name, inputs, outputs)
        official = valid.nearest(name, inputs, outputs)
        said = {
            k: int(random.integers(8)) if np.ndim(v) == 0
            else random.integers(2 if "in_" in k or k == "selected" else 8, size=np.shape(v))
            for k, v in official.items()
        }  # fmt: skip
        if name == "lcs_length":
            said = {"b": said["b"] % 4}
        found = valid.nearest(name, inputs, said)
        assert valid.check(name, inputs, found)
        if name in UNIQUE:
            assert agreement(found, official) == sum(np.size(v) for v in official.values())
