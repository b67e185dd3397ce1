"""A run of the training alone, and settings that are refused before anything else is done."""

import json

import pytest

from experiments import __main__ as command

TRAINING = ["--parts", "training", "--randomizers", "cldp", "--cells", "2", "--bins", "2"]


def run(out, *words):
    return command.main(["shuffle", "--preset", "smoke", "--out", str(out), *words])


def test_a_resumed_run_has_every_row_once(tmp_path):
    out = tmp_path / "run"
    assert run(out, *TRAINING) == 0
    first = (out / "metrics.jsonl").read_text()
    assert [json.loads(line)["round"] for line in first.splitlines()] == [1, 2]
    assert run(out, *TRAINING, "--resume") == 0
    assert (out / "metrics.jsonl").read_text() == first


@pytest.mark.parametrize(
    "words, said",
    [
        (["--dataset", "digit"], "unknown data set"),
        (["--plan", "quick"], "unknown cohort plan"),
        (["--cells", "9"], "cells are at most the 8 pixels"),
        (["--randomizers", "cldp", "rappor"], "unknown randomizer"),
        (["--randomizers"], "randomizers is empty"),
        (["--eps0", "301"], "eps0 must be <= 300"),
        (["--figure-orders", "0.5"], "figure_orders are above 1"),
        (["--figure-clients"], "figure_clients is empty"),
        (["--audit-trials", "3"], "audit_trials are at least 4"),
        (["--delta", "1"], "delta must be below 1"),
    ],
)
def test_bad_settings_are_one_sentence_at_once(tmp_path, capsys, words, said):
    assert run(tmp_path / "run", "--parts", "plan", "figures", "audit", "training", *words) == 2
    shown = capsys.readouterr()
    lines = shown.err.strip().splitlines()
    assert len(lines) == 1 and said in lines[0]
    assert "budget" not in shown.out  # not even the plan was made
