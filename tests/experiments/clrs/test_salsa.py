"""SALSA-CLRS end to end, in the smallest setting."""

import pytest

from experiments import __main__ as command
from experiments.clrs import salsa
from fl_jax.core import tree
from fl_jax.data import safetensors


@pytest.mark.slow
def test_a_model_is_trained_and_tested_on_sparse_graphs(tmp_path):
    config = salsa.Config(
        hidden=8, rounds=2, batch=2, lengths=(4,), pool=4, test_lengths=(6,), test_nodes=6,
        test_graphs=1,
    )  # fmt: skip
    said = []
    params = salsa.train("bfs", config, said.append)
    salsa.save(tmp_path / "bfs.safetensors", params, config)
    kept = safetensors.File(tmp_path / "bfs.safetensors")
    assert set(kept.entries) == set(tree.named_leaves(params))
    rows = list(salsa.test("bfs", params, config))
    assert len(said) == 2 and "loss" in said[0]
    assert [row["kind"] for row in rows] == ["erdos_renyi", "small_world", "delaunay"]
    assert all(0 <= row["graph"] <= row["node"] <= 1 for row in rows)


def test_the_table_has_means_over_kinds():
    row = {"task": "bfs", "n": 16, "kind": "delaunay", "node": 1.0, "graph": 0.5}
    text = salsa.table([row, {**row, "kind": "small_world", "node": 0.5}])
    assert text.splitlines()[-1] == "| bfs | 75.0 / 50 |"


def test_an_unknown_task_is_one_sentence(capsys):
    assert command.main(["clrs", "salsa", "--tasks", "quicksort"]) == 2
    assert "unknown sparse task 'quicksort'" in capsys.readouterr().err
