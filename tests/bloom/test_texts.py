"""Texts that continue texts, against tokens and searches of their own."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.bloom import beam, generate, model, texts
from fl_jax.core import errors
from fl_jax.data import bpe
from fl_jax.nn.beams import Search

PROMPTS = ["The cat", "on"]


@pytest.fixture(scope="module")
def held():
    words = bpe.train(bpe.count({"x": ["The cat sat on the mat, and the dog."]}), 290)
    config = model.Config(vocab=290, hidden=24, layers=1, heads=2)
    return model.init(jax.random.key(0), config, std=0.4), config, words


def given(held):
    params, config, words = held
    return params, config, *generate.pad_left([words.encode(p) for p in PROMPTS], 3, multiple=16)


def test_samples_and_what_they_score(held, key):
    words = held[2]
    asked = {"count": 6, "sampling": generate.Sampling(1.0), "key": key, "samples": 2}
    found = texts.answers(*held, PROMPTS, **asked)
    made, logs = generate.likelihoods(*given(held), **asked)
    for i, one in enumerate(itertools.chain(*found)):
        assert one.text == words.decode(np.asarray(made)[i])
        assert one.score == pytest.approx(float(logs[i].sum()), rel=1e-5)
    del asked["samples"]
    assert texts.complete(*held, PROMPTS, **asked) == [
        some[0].text for some in texts.answers(*held, PROMPTS, **asked)
    ]


def test_the_best_of_a_search(held):
    words = held[2]
    found = texts.answers(*held, PROMPTS, count=6, search=Search(3), samples=2)
    made, scores = beam.search(*given(held), count=6, by=Search(3))
    for some, rows, values in zip(found, np.asarray(made), scores, strict=True):
        assert [one.text for one in some] == [words.decode(row) for row in rows[:2]]
        np.testing.assert_allclose([one.score for one in some], values[:2], rtol=1e-5)
    with pytest.raises(errors.ConfigError, match="3 beams find no 4 samples"):
        texts.answers(*held, PROMPTS, count=6, search=Search(3), samples=4)


@pytest.mark.parametrize("search", [None, Search(2)])
def test_a_stop_is_not_in_the_text(held, search):
    asked = {"count": 8, "search": search}
    ((whole,),) = texts.answers(*held, ["The cat"], **asked)
    stop = whole.text[3:5]
    ((found,),) = texts.answers(*held, ["The cat"], stop=["never said", stop], **asked)
    if search is None:
        assert found.text == whole.text.partition(stop)[0]
    assert stop not in found.text
    with pytest.raises(errors.ConfigError, match="a stop is empty"):
        texts.complete(*held, ["x"], count=2, stop=["a", ""])


def test_an_empty_prompt_begins_with_the_start_mark(held):
    params, config, words = held
    made = generate.generate(params, config, jnp.array([[config.bos]]), count=4)
    assert texts.complete(*held, [""], count=4) == [words.decode(np.asarray(made)[0])]
