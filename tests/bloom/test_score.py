"""Perplexity and ranking against the likelihoods of whole sequences."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.bloom import model, score
from fl_jax.core import errors
from fl_jax.data import bpe

TEXTS = ["The cat sat on the mat.", "Ein kürzerer Satz", "", "x" * 90]


@pytest.fixture(scope="module")
def held():
    words = bpe.train(bpe.count({"x": TEXTS}), 290)
    config = model.Config(vocab=290, hidden=24, layers=1, heads=2, length=16)
    return model.init(jax.random.key(0), config, std=0.4), config, words


def whole(held, ids):
    """log p of each token but the first, in one go."""
    params, config, _ = held
    logits = model.apply(params, config, jnp.array([ids]))[0]
    picked = jax.nn.log_softmax(logits[:-1])
    return np.asarray(picked)[np.arange(len(ids) - 1), ids[1:]]


def test_byte_perplexity_of_texts_that_fit(held):
    params, config, words = held
    found = score.perplexity(params, config, words, TEXTS, length=128)
    nats = -sum(whole(held, [2, *words.encode(t)]).sum() for t in TEXTS if t)
    size = sum(len(t.encode()) for t in TEXTS)
    assert found.bytes == size and found.tokens == sum(len(words.encode(t)) for t in TEXTS)
    assert found.nats == pytest.approx(nats, rel=1e-5)
    assert found.per_byte == pytest.approx(math.exp(nats / size), rel=1e-5)
    assert found.bits_per_byte == pytest.approx(math.log2(found.per_byte))


@pytest.mark.parametrize("count", [1, 2, 17, 18, 40, 57])
def test_windows_score_every_token_but_the_first_once(count):
    tokens = list(range(count))
    seen = []
    for window in score.windows(0, tokens, 16, 8):
        assert len(window.tokens) <= 17 and window.first >= 1
        assert len(window.tokens) == 17 or window.tokens[0] == 0  # as much context as fits
        seen += window.tokens[window.first :]
    assert seen == tokens[1:]


@pytest.mark.parametrize("stride", [17, 40, 0, -1])
def test_strides_that_leave_tokens_out_are_refused(held, stride):
    """One of 17 at length 16 scored fewer tokens than it counted."""
    params, config, words = held
    with pytest.raises(errors.ConfigError, match="would leave tokens out"):
        score.perplexity(params, config, words, TEXTS, stride=stride)
    assert len(score.windows(0, list(range(40)), 16, 16)) == 3


def test_rank_chooses_by_the_answers_likelihood(held):
    params, config, words = held
    questions = [
        score.Question("The cat sat on", ("the mat.", "Satz"), 0),
        score.Question("Ein", ("kürzerer Satz", "cat", "x"), 2),
    ]
    found = score.rank(params, config, words, questions, length=128)
    for question, scores in zip(questions, found.scores, strict=True):
        prompt = [2, *words.encode(question.prompt)]
        for choice, value in zip(question.choices, scores, strict=True):
            answer = words.encode(" " + choice)
            wanted = whole(held, [*prompt, *answer])[-len(answer) :].sum()
            assert value == pytest.approx(wanted, rel=1e-4)
    right = [int(np.argmax(s)) == q.answer for s, q in zip(found.scores, questions, strict=True)]
    assert found.accuracy == np.mean(right)
    # The likelier for its bytes, the less likely for its characters.
    question = score.Question("The cat", ("漢漢", "BBBB"), 0)
    found = score.rank(params, config, words, [question], length=128)
    first, second = found.scores[0]
    assert first / 6 > second / 4 > first / 2 and found.accuracy_per_byte == 1
    for choices, answer in [((), 0), (("a", "b"), 2), (("a", "b"), -1)]:
        with pytest.raises(errors.DataError, match=f"number {answer} of {len(choices)} choices"):
            score.rank(params, config, words, [score.Question("Ein", choices, answer)])
    broken = jax.tree.map(lambda a: a * jnp.nan, params)
    with pytest.raises(errors.DataError, match="likelihoods are NaN"):
        score.rank(broken, config, words, questions, length=128)
    with pytest.raises(errors.DataError, match="no questions"):
        score.rank(params, config, words, [])


@pytest.mark.parametrize("batch", [0, -1])
def test_batches_of_no_sequences_are_refused(held, batch):
    """Of -1 nothing was scored, and the perplexity was 1."""
    params, config, words = held
    with pytest.raises(errors.ConfigError, match="batch must be a whole number of 1 or more"):
        score.perplexity(params, config, words, TEXTS, batch=batch)
    with pytest.raises(errors.ConfigError, match="batch must be a whole number of 1 or more"):
        score.rank(params, config, words, [score.Question("Ein", ("x", "y"), 0)], batch=batch)


def test_a_perplexity_that_no_float_holds_is_infinite():
    assert score.Perplexity(800.0, 1, 1).per_byte == math.inf
    assert score.Perplexity(800.0, 1, 1).bits_per_byte == 800 / math.log(2)


def test_no_text_has_no_perplexity(held):
    """It was 1, the best there is."""
    params, config, words = held
    for texts in ([], ["", ""]):
        with pytest.raises(errors.DataError, match="there is no text"):
            score.perplexity(params, config, words, texts)
