"""A whole run, and the same resumed."""

import dataclasses
import json

import pytest

from experiments.bloom import config, run
from experiments.result import RunDirectory

TINY = dataclasses.replace(
    config.SMOKE, hidden=24, heads=2, layers=1, steps=4, stride=2, finetune_steps=2, questions=4,
    per_task=8, save_every=2, batch=2,
)  # fmt: skip


@pytest.fixture(autouse=True)
def embedded(monkeypatch):
    monkeypatch.delenv("FL_JAX_DATA", raising=False)


@pytest.mark.slow
def test_a_run_is_whole_and_resumes(tmp_path):
    directory = RunDirectory.open("bloom", "smoke", TINY, str(tmp_path / "run"), False)
    directory.write_config()
    result = run.run(TINY, directory)
    directory.write_result(result, 1.0)
    written = json.loads((tmp_path / "run" / "result.json").read_text())
    assert written["headline"]["command"] == "python -m experiments bloom"
    assert [row[0] for row in result.details["curves"]["pretrain"]] == [2, 4]
    first = (tmp_path / "run" / "pretrain.jsonl").read_bytes()
    resumed = run.run(TINY, directory, resume=True)
    assert (tmp_path / "run" / "pretrain.jsonl").read_bytes() == first
    assert resumed.details["perplexity"] == result.details["perplexity"]
    assert resumed.details["curves"]["pretrain"] == result.details["curves"]["pretrain"]
