"""What a run measures, on a model that has learnt nothing."""

import dataclasses

import jax
import pytest

from experiments.bloom import config, corpus, evaluate, stages
from fl_jax.bloom import model, score
from fl_jax.bloom.prompts import Template
from fl_jax.data import bpe

TINY = dataclasses.replace(
    config.SMOKE, vocab=300, hidden=16, heads=2, layers=1, length=16, finetune_length=64,
    questions=3,
)  # fmt: skip


@pytest.fixture(scope="module")
def held():
    texts = {"en": ["some text that says", "more of it"], "de": ["etwas Text"]}
    words = bpe.train(bpe.count(texts), TINY.vocab)
    shape = stages.model_config(TINY)
    return shape, words, model.init(jax.random.key(0), shape, std=0.3), texts


def test_byte_perplexities_and_fertility(held):
    shape, words, params, texts = held
    found = evaluate.perplexities(TINY, shape, words, params, texts)
    wanted = score.perplexity(params, shape, words, texts["en"], length=16)
    assert found["en"]["byte_perplexity"] == pytest.approx(wanted.per_byte)
    assert found["de"]["bytes"] == len("etwas Text")
    some = corpus.Corpus({}, {"en": texts["en"]}, {"de": texts["de"]}, {}, {}, {}, "here")
    per = evaluate.fertilities(words, some)["de"]
    assert per["per_word"] == len(words.encode("etwas Text")) / 2


def test_ranks_are_medians_over_prompts(held):
    shape, words, params, _ = held
    choices = ("yes", "some text that says", "{q}")  # few tokens of many bytes
    ask = [Template(str(i), "{q}" + "?" * i, "{a}", choices) for i in range(3)]
    lists = [
        [
            t.fill({"q": q, "a": a})
            for q, a in zip("bcde", ("b", choices[1], "d", "yes"), strict=True)
        ]
        for t in ask
    ]
    some = corpus.Corpus({}, {}, {}, {}, {}, {"guess": lists}, "here")
    found = evaluate.rank_all(TINY, shape, words, params, some)["guess"]
    asked = [[example.question() for example in prompt[:3]] for prompt in lists]
    ranked = [score.rank(params, shape, words, one, length=64) for one in asked]
    assert found["prompts"] == [one.accuracy for one in ranked]
    assert found["prompts"] != [one.accuracy_per_byte for one in ranked]
    assert found["median"] == sorted(found["prompts"])[1] and found["questions"] == 3
    assert found["chance"] == pytest.approx(1 / 3)
