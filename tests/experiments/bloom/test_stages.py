"""What a run trains: its stream, its tokenizer, adapters across clients."""

import dataclasses

import jax
import numpy as np
import pytest

from experiments.bloom import config, corpus, stages
from fl_jax.bloom import model

TINY = dataclasses.replace(
    config.SMOKE, vocab=300, hidden=16, heads=2, layers=1, length=16, batch=2, rounds=2,
    client_length=8, client_rows=3, lora_rank=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def texts():
    """Little enough to train a tokenizer on in no time."""
    lines = [f"line {i} of some text that says {i % 7} things" for i in range(40)]
    elsewhere = {"de": [f"Zeile {i} von etwas Text" for i in range(9)], "fi": ["yksi", "kaksi"]}
    never = {name: ["etwas"] for name in elsewhere}
    return corpus.Corpus({"en": lines, "code": lines[::2]}, {}, never, elsewhere, {}, {}, "here")


@pytest.fixture(scope="module")
def words(texts, tmp_path_factory):
    path = tmp_path_factory.mktemp("words") / "tokenizer.json"
    made = stages.make_tokenizer(TINY, texts, path)
    again = stages.make_tokenizer(TINY, texts, path)
    assert again.encode(texts.train["en"][3]) == made.encode(texts.train["en"][3])
    return again


def test_batches_are_a_function_of_the_step(texts, words):
    one, two = (stages.streams(TINY, texts, words) for _ in range(2))
    late = stages.batch_of(one, 4, 7)["tokens"]
    for step in range(3):
        stages.batch_of(two, 4, step)
    np.testing.assert_array_equal(stages.batch_of(two, 4, 7)["tokens"], late)
    assert late.shape == (4, TINY.length + 1)


def test_clients_train_adapters_of_one_base(texts, words):
    """Side by side; the base is only added to."""
    shape = stages.model_config(TINY)
    params = model.init(jax.random.key(0), shape, std=0.1)
    side = dataclasses.replace(TINY, plan="vmap")
    found, curve = stages.federate(side, shape, words, params, texts)
    assert len(curve) == 2 and curve[1][1] < curve[0][1]
    for name in ("qkv", "out", "up", "down"):
        new, old = (tree["layers"][name]["kernel"] for tree in (found, params))
        assert float(np.max(np.abs(new - old))) > 1e-4
    np.testing.assert_array_equal(found["embedding"]["table"], params["embedding"]["table"])
