import dataclasses
import json

import numpy as np
import pytest

from experiments import __main__ as command
from experiments.leakage import arm, config, grid
from experiments.leakage import run as run_module

PARTS = ["--parts", "two-party", "fraction", "active", "timeline", "defences"]
# A table's network and few programs: the other defences are `test_arm`'s.
QUICK = ["--channels", "--noises", "1", "--portions", "--views", "--active-seeds", "2"]


def run(out, *words):
    return command.main(["leakage", "--preset", "smoke", "--out", str(out), *words])


def test_the_smoke_run_leaves_what_the_contract_names_and_resumes(tmp_path, capsys):
    out = tmp_path / "run"
    assert run(out, *PARTS, *QUICK) == 0
    said = capsys.readouterr().out
    assert "| two-party | K = 2 |" in said
    names = {p.name for p in out.iterdir()}
    assert names >= {"config.json", "metrics.jsonl", "report.md", "result.json"}
    assert names >= {"roc.png", "auc.png", "timeline.png"}
    stored = json.loads((out / "result.json").read_text())
    assert stored["headline"]["ours"]
    assert stored["details"]["privacy"][0]["eps"] > 1
    # Cut off in the middle of a row, the run goes on from the last whole one.
    whole = (out / "metrics.jsonl").read_bytes()
    (out / "metrics.jsonl").write_bytes(whole[:-10])
    assert run(out, *PARTS, *QUICK, "--resume") == 0
    assert (out / "metrics.jsonl").read_bytes() == whole
    # Other parts of the same run: what was done before stays in the report.
    assert run(out, "--parts", "record", *QUICK, "--resume") == 0
    text = (out / "report.md").read_text()
    assert "| record | batch 8 |" in text and "| two-party | K = 2 |" in text
    assert "| active | AUC over alpha = 0 |" in text
    assert run(out, *PARTS, *QUICK, "--resume", "--seed", "1") == 2  # nothing else may differ


@pytest.mark.slow
def test_all_of_the_smoke_preset(tmp_path):
    assert run(tmp_path / "run") == 0
    assert {"words.png", "inversion.png"} <= {p.name for p in (tmp_path / "run").iterdir()}


def test_bad_settings_are_one_sentence(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("FL_JAX_DATA", raising=False)
    cases = {
        ("--parts", "passive"): "unknown part 'passive'",
        ("--classifiers", "svm"): "unknown classifier 'svm'",
        ("--dataset", "lfw"): "needs the data folder 'lfw'",
        ("--participants", "1", "--parts", "parties"): "K >= 2",
        ("--share", "1.5", "--parts", "parties"): "share",
        ("--plan", "side"): "unknown cohort plan 'side'",
        ("--active-seeds", "21"): "active_seeds are at most 20",
        ("--truncated", "501"): "truncated keeps some of the 500 words",
        ("--delta", "1"): "delta must be below 1",
        # what the second part would have refused when the first was done
        ("--participants", "900", "--parts", "two-party", "parties"): "fewer participants",
        ("--participants", "40", "--parts", "two-party", "parties"): "a pool of 32",
        ("--shares", "0.01", "--parts", "two-party", "fraction"): "none have a record with",
        ("--local-steps", "1", "--every", "1", "--parts", "fedavg"): "all have a record with",
    }
    for i, (words, expected) in enumerate(cases.items()):
        assert run(tmp_path / str(i), *words) == 2
        said = capsys.readouterr().err.strip().splitlines()
        assert len([line for line in said if line.startswith("error:")]) == 1, said
        assert expected in said[-1], said
        assert not (tmp_path / str(i) / "metrics.jsonl").exists()


def test_every_share_that_was_drawn_is_reported():
    """0.29 of 100 are 29 records, which 28.999999999999996 is not."""
    settings = dataclasses.replace(config.SMOKE, batch=100, shares=(0.29, 1.0))
    (cell,) = grid.cells(dataclasses.replace(settings, parts=("fraction",)), "scan")
    draw = np.random.default_rng(0)
    shares = np.where(np.arange(60) % 5, 0.0, np.where(np.arange(60) % 10, 0.29, 1.0))
    labels = np.arange(64) % 2
    record = arm.Record(
        (shares[:, None] + draw.normal(size=(60, 3))).astype(np.float32),
        (labels[:, None] + draw.normal(size=(64, 3))).astype(np.float32),
        labels, shares, 0.5, None,
    )  # fmt: skip
    assert set(run_module.evaluate(settings, cell, record)["shares"]) == {"0.29", "1"}
