"""Scores are those of known confusions, and do not depend on batches."""

import pytest

from algorithmic.clrs import evaluate, specs
from algorithmic.clrs.evaluate import Counts


def test_f1_is_of_the_whole_set():
    assert evaluate.score("activity_selector", {"selected": Counts(6, 2, 4)}) == pytest.approx(
        2 / 3
    )
    assert evaluate.score("activity_selector", {"selected": Counts(0, 0, 0)}) == 1.0
    assert evaluate.score("segments_intersect", {"intersect": Counts(0, 3, 5)}) == 0.0


def test_a_score_is_the_mean_of_its_outputs():
    total = {"topo": Counts(3, 0, 1), "topo_head": Counts(1, 0, 3)}
    assert evaluate.score("topological_sort", total) == pytest.approx(0.5)


def test_the_two_means_are_kept_apart():
    scores = dict.fromkeys(specs.ALGORITHMS, 0.5) | {"find_maximum_subarray_kadane": 1.0}
    found = evaluate.means(scores)
    assert found["algorithms"] == pytest.approx(0.5 + 0.5 / 30)
    assert found["families"] == pytest.approx(0.5 + 0.5 / 8)
    assert sum(len(names) for names in specs.FAMILIES.values()) == 30


def test_test_sets_have_the_benchmarks_sizes():
    sizes = {name: evaluate.test_size(name) for name in specs.ALGORITHMS}
    assert sizes["bfs"] == 32 and sizes["minimum"] == 2048
    assert sizes["find_maximum_subarray_kadane"] == 1024
