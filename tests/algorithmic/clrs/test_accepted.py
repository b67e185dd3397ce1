"""Scores that accept every right answer: by construction, beside the official ones."""

import itertools

import numpy as np
import pytest

from algorithmic.clrs import accepted, specs

SQUARE = np.array([[0, 1, 1, 0], [1, 0, 0, 1], [1, 0, 0, 1], [0, 1, 1, 0]], float)
LOOP = np.array([[0, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
FORK = np.array([[0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
BLANK = np.full((4, 4), 3)


def tree(*pairs):
    mask = np.zeros((4, 4), int)
    for u, v in pairs:
        mask[u, v] = mask[v, u] = 1
    return mask


def table(values, fill=0):
    out = np.full((4, 4), fill)
    for cell, value in values.items():
        out[cell] = value
    return out


# name, inputs, what the benchmark answers, another right answer, a wrong one
TIES = [
    ("bfs", {"A": SQUARE, "s": 0}, {"pi": [0, 0, 0, 1]}, {"pi": [0, 0, 0, 2]},
     {"pi": [0, 0, 3, 1]}),
    *(
        (name, {"A": SQUARE, "s": 0}, {"pi": [0, 0, 0, 1]}, {"pi": [0, 0, 0, 2]},
         {"pi": [0, 3, 0, 1]})
        for name in ("bellman_ford", "dijkstra", "dag_shortest_paths")
    ),
    ("mst_prim", {"A": SQUARE, "s": 0}, {"pi": [0, 0, 0, 1]}, {"pi": [0, 0, 3, 1]},
     {"pi": [1, 0, 0, 1]}),
    ("mst_kruskal", {"A": SQUARE}, {"in_mst": tree((0, 1), (0, 2), (1, 3))},
     {"in_mst": tree((0, 1), (0, 2), (2, 3))}, {"in_mst": tree((0, 1), (0, 2), (1, 3), (2, 3))}),
    ("floyd_warshall", {"A": SQUARE},
     {"Pi": [[0, 0, 0, 1], [1, 1, 0, 1], [2, 0, 2, 2], [1, 3, 3, 3]]},
     {"Pi": [[0, 0, 0, 2], [1, 1, 3, 1], [2, 0, 2, 2], [1, 3, 3, 3]]},
     {"Pi": [[0, 0, 0, 3], [1, 1, 0, 1], [2, 0, 2, 2], [1, 3, 3, 3]]}),
    ("dfs", {"A": FORK}, {"pi": [0, 0, 0, 3]}, {"pi": [0, 1, 0, 3]}, {"pi": [0, 2, 0, 3]}),
    ("topological_sort", {"A": FORK}, {"topo": [2, 1, 1, 0], "topo_head": 3},
     {"topo": [3, 2, 2, 1], "topo_head": 0}, {"topo": [0, 0, 0, 0], "topo_head": 3}),
    ("strongly_connected_components", {"A": LOOP}, {"scc_id": [0, 0, 2, 3]},
     {"scc_id": [1, 1, 2, 3]}, {"scc_id": [0, 1, 2, 3]}),
    *(
        (name, {"key": np.array([0.5, 0.1, 0.5, 0.9])}, {"pred": [1, 1, 0, 2]},
         {"pred": [2, 1, 1, 0]}, {"pred": [2, 1, 0, 0]})
        for name in specs.SORTS
    ),
    ("minimum", {"key": np.array([2.0, 1, 1, 3])}, {"min": 1}, {"min": 2}, {"min": 0}),
    ("quickselect", {"key": np.array([2.0, 1, 2, 3])}, {"median": 0}, {"median": 2}, {"median": 3}),
    ("binary_search", {"key": np.array([1.0, 2, 2, 3]), "target": 2.0}, {"return": 1},
     {"return": 2}, {"return": 3}),
    ("find_maximum_subarray_kadane", {"key": np.array([0.5, -0.5, 0.5, -1])},
     {"start": 0, "end": 0}, {"start": 2, "end": 2}, {"start": 1, "end": 2}),
    *(
        (name, {"key": np.array([0, 1, 0, 0]), "string": np.array([0, 0, 0, 1])}, {"match": 0},
         {"match": 2}, {"match": 1})
        for name in specs.MATCHERS
    ),
    ("activity_selector", {"s": np.array([0, 0.1, 2, 0]), "f": np.array([1, 1.5, 3, 3.5])},
     {"selected": [1, 0, 1, 0]}, {"selected": [0, 1, 1, 0]}, {"selected": [1, 1, 1, 0]}),
    ("task_scheduling", {"d": np.array([1.0, 1, 2, 2]), "w": np.array([0.5, 0.5, 0.2, 0.1])},
     {"selected": [1, 0, 1, 0]}, {"selected": [0, 1, 1, 0]}, {"selected": [1, 1, 0, 0]}),
    ("lcs_length", {"key": np.array([0, 1, 1, 0]), "string": np.array([0, 0, 1, 1])},
     {"b": table({(0, 2): 1, (0, 3): 0, (1, 2): 0, (1, 3): 1}, 3)},
     {"b": table({(0, 2): 2, (0, 3): 0, (1, 2): 0, (1, 3): 2}, 3)},
     {"b": table({(0, 2): 0, (0, 3): 0, (1, 2): 0, (1, 3): 1}, 3)}),
    ("matrix_chain_order", {"p": np.ones(4)}, {"s": table({(1, 2): 1, (2, 3): 2, (1, 3): 1})},
     {"s": table({(1, 2): 1, (2, 3): 2, (1, 3): 2})},
     {"s": table({(1, 2): 1, (2, 3): 2, (1, 3): 3})}),
    ("optimal_bst", {"p": np.array([0.25, 0.25, 0]), "q": np.array([0.125, 0.25, 0.125])},
     {"root": table({(1, 2): 1})[:3, :3]}, {"root": table({(1, 2): 1, (0, 2): 1})[:3, :3]},
     {"root": table({(1, 2): 2})[:3, :3]}),
    *(
        (name, {"x": np.array([0, 2, 1, 1.0]), "y": np.array([0, 0, 2, 0.0])},
         {"in_hull": [1, 1, 1, 0]}, {"in_hull": [1, 1, 1, 1]}, {"in_hull": [1, 1, 0, 0]})
        for name in ("graham_scan", "jarvis_march")
    ),
]  # fmt: skip
IDS = [name for name, *_ in TIES]


def arrays(answer):
    return {probe: np.asarray(value) for probe, value in answer.items()}


@pytest.mark.parametrize(("name", "inputs", "official", "other", "wrong"), TIES, ids=IDS)
def test_every_right_answer_scores_full_and_no_other(name, inputs, official, other, wrong):
    official, other, wrong = arrays(official), arrays(other), arrays(wrong)
    accepting = lambda said: accepted.score(name, accepted.sample(name, inputs, said, official))
    plain = lambda said: accepted.score(name, accepted.compare(name, said, official))
    assert plain(official) == accepting(official) == 1
    assert plain(other) < 1 and accepting(other) == 1
    assert plain(wrong) <= accepting(wrong) < 1


def test_where_one_answer_is_right_the_score_is_the_official_one():
    chain = np.diag([1.0, 1, 1], 1)
    official = {"pi": np.array([0, 0, 1, 2])}
    for said in itertools.product(range(4), repeat=4):
        said = {"pi": np.array(said)}
        found = accepted.sample("bfs", {"A": chain + chain.T, "s": 0}, said, official)
        assert found == accepted.compare("bfs", said, official)
    bridge = {"is_bridge": np.array([[-1, 1], [0, -1]])}
    said = {"is_bridge": np.array([[1, 1], [1, 1]])}
    assert accepted.sample("bridges", {}, said, bridge)["is_bridge"] == (1, 1, 0)


def test_a_batch_adds_up_its_real_nodes():
    A = np.zeros((2, 5, 5))
    A[:, :4, :4] = SQUARE
    A[1, 3, 4] = A[1, 4, 3] = 1
    said = {"pi": np.array([[0, 0, 0, 2, 0], [0, 0, 0, 2, 0]])}
    official = {"pi": np.array([[0, 0, 0, 1, 0], [0, 0, 0, 1, 3]])}
    found = accepted.total("bfs", {"A": A, "s": np.eye(5)[[0, 0]]}, said, official, [4, 5])
    assert found == {"pi": (8, 0, 1)}
