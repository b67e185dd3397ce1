"""A whole run, and the same resumed."""

import dataclasses
import json

import pytest

from experiments.bloom import config, report, run
from experiments.result import RunDirectory
from fl_jax.core import errors

TINY = dataclasses.replace(
    config.SMOKE, hidden=24, heads=2, layers=1, steps=4, stride=2, finetune_steps=2, questions=4,
    per_task=8, save_every=2, batch=2,
)  # fmt: skip


@pytest.fixture(autouse=True)
def embedded(monkeypatch):
    monkeypatch.delenv("FL_JAX_DATA", raising=False)


@pytest.mark.parametrize(
    "change",
    [
        {"heads": 7},
        {"dtype": "float64"},
        {"optimizer": "sgd"},
        {"final_rate": 1.0},
        {"ramp_start": 8},
    ],
)
def test_what_no_model_or_recipe_is_made_of_is_refused_first(change):
    """They were refused after the tokenizer was trained, and its file kept the folder taken."""
    with pytest.raises(errors.ConfigError):
        dataclasses.replace(TINY, **change).check()


def test_a_run_that_is_refused_leaves_no_files(tmp_path):
    short = dataclasses.replace(TINY, finetune_length=4)
    directory = RunDirectory.open("bloom", "smoke", short, str(tmp_path / "run"), False)
    with pytest.raises(errors.DataError, match=r"none of .* examples fits in 5 tokens"):
        run.run(short, directory)
    assert not [*(tmp_path / "run").iterdir()]


def test_samples_hold_no_control_characters():
    """A terminal obeyed them, and the report was no text to other programs."""
    shown = report._samples({"samples": {"a": "b\x1b[2J\x00\té\n"}})
    assert "ab\ufffd[2J\ufffd\té\n" in shown


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
