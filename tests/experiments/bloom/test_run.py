"""The stream of a run, and a whole run that is stopped and resumed."""

import dataclasses
import json

import numpy as np
import pytest

from experiments.bloom import config, corpus, run
from experiments.result import RunDirectory

TINY = dataclasses.replace(
    config.SMOKE, hidden=24, heads=2, layers=1, steps=4, stride=2, finetune_steps=2, questions=4,
    per_task=8, save_every=2, batch=2,
)  # fmt: skip


@pytest.fixture(autouse=True)
def embedded(monkeypatch):
    monkeypatch.delenv("FL_JAX_DATA", raising=False)


def test_batches_are_a_function_of_the_step(tmp_path):
    texts = corpus.load(0)
    words = run.make_tokenizer(TINY, texts, tmp_path / "tokenizer.json")
    again = run.make_tokenizer(TINY, texts, tmp_path / "tokenizer.json")
    one, two = (run.streams(TINY, texts, w) for w in (words, again))
    late = run.batch_of(one, 4, 7)["tokens"]
    for step in range(3):
        run.batch_of(two, 4, step)
    np.testing.assert_array_equal(run.batch_of(two, 4, 7)["tokens"], late)
    assert late.shape == (4, TINY.length + 1)


@pytest.mark.slow
def test_a_run_is_whole_and_resumes(tmp_path):
    directory = RunDirectory.open("bloom", "smoke", TINY, str(tmp_path / "run"), False)
    directory.write_config()
    result = run.run(TINY, directory)
    directory.write_result(result, 1.0)
    written = json.loads((tmp_path / "run" / "result.json").read_text())
    assert written["headline"]["command"] == "python -m experiments bloom"
    assert [row[0] for row in result.details["curve"]] == [2, 4]
    first = (tmp_path / "run" / "pretrain.jsonl").read_bytes()
    resumed = run.run(TINY, directory, resume=True)
    assert (tmp_path / "run" / "pretrain.jsonl").read_bytes() == first
    for language, one in result.details["perplexity"].items():
        assert resumed.details["perplexity"][language] == one
