import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from fl_jax.bloom import config as bloom_config
from fl_jax.bloom import loss as bloom_loss
from fl_jax.bloom import model
from fl_jax.core import errors
from privacy.membership import language


def test_statistics_by_plain_sums():
    logits = np.random.default_rng(0).normal(size=(2, 3, 7)) * 2
    labels = np.random.default_rng(1).integers(7, size=(2, 3))
    found = language.statistics(jnp.asarray(logits, jnp.float32), jnp.asarray(labels, jnp.int32))
    log_p = special.log_softmax(logits, -1)
    p = np.exp(log_p)
    mean = (p * log_p).sum(-1)
    deviation = np.sqrt((p * log_p**2).sum(-1) - mean**2)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-5)
    np.testing.assert_allclose(found.deviation, deviation, rtol=1e-4)
    np.testing.assert_allclose(found.log_p[1, 2], log_p[1, 2, labels[1, 2]], rtol=1e-5)


def test_scores_by_hand():
    log_p = np.array([[-1.0, -4.0, -2.0, -9.0], [-3.0, -1.0, 0.0, 0.0]])
    mask = np.array([[1, 1, 1, 1], [1, 1, 0, 0]], bool)
    assert language.loss(log_p, mask).tolist() == [-4.0, -2.0]
    assert language.min_k(log_p, mask, share=0.5).tolist() == [-6.5, -3.0]
    assert language.reference(log_p, log_p - 1, mask).tolist() == [1.0, 1.0]
    assert language.recall(log_p, log_p / 2, mask).tolist() == [0.5, 0.5]
    assert language.neighbourhood(np.array([1.0]), np.array([[0.0, 1.0]])).tolist() == [0.5]
    texts = ["a" * 50, "one two"]
    expected = [-16 / len(zlib.compress(texts[0].encode())), -4 / len(zlib.compress(b"one two"))]
    np.testing.assert_allclose(language.zlib_ratio(log_p, mask, texts), expected)
    tokens = language.Tokens(log_p, log_p - 1, np.where(log_p == -1, 0.0, 0.5))
    found = language.min_k_plus(tokens, mask, share=0.5)
    assert found.tolist() == [1.0, 0.0]  # lowest of (0, 2, 2, 2), and of (2, 0)


def test_a_language_models_statistics(key):
    config = bloom_config.Config(layers=1, hidden=16, heads=2, vocab=32, length=8)
    params = model.init(key, config)
    tokens = jax.random.randint(key, (2, 6), 0, 30)
    found = language.from_bloom(params, config, tokens)
    expected = bloom_loss.log_likelihoods(params, config, tokens)
    np.testing.assert_allclose(found.log_p, expected, atol=1e-4)


def test_bad_input_is_refused():
    with pytest.raises(errors.DataError, match="one shape"):
        language.loss(np.zeros((1, 2)), np.ones((1, 3), bool))
    with pytest.raises(errors.DataError, match="text 0 has no token"):
        language.loss(np.zeros((1, 2)), np.zeros((1, 2), bool))
    with pytest.raises(errors.ConfigError, match=r"\(0, 1\]"):
        language.min_k(np.zeros((1, 2)), np.ones((1, 2), bool), share=0.0)
    mask = np.array([[True, True], [True, False]])
    language.loss(np.array([[-1.0, -2.0], [-1.0, np.nan]]), mask)  # it does not count
    with pytest.raises(errors.DataError, match="of 1 texts are NaN, first of text 1"):
        language.loss(np.array([[-1.0, -2.0], [np.nan, -1.0]]), mask)


def test_tokens_that_are_nan_are_not_taken_for_certain():
    """A diverged model's texts scored 0, as if it were sure of every token."""
    nan = language.Tokens(*(np.array([[np.nan, -1.0]]) for _ in range(3)))
    with pytest.raises(errors.DataError, match="NaN"):
        language.min_k_plus(nan, np.ones((1, 2), bool))
    known = nan._replace(deviation=np.ones((1, 2)))
    assert np.isfinite(language.min_k_plus(known, np.array([[False, True]])))


def test_neighbours_and_ratios_that_say_nothing_are_refused():
    for neighbours in (np.array([[np.nan]]), np.zeros((1, 0)), np.zeros((2, 1))):
        with pytest.raises(errors.DataError):
            language.neighbourhood(np.array([1.0]), neighbours)
    with pytest.raises(errors.DataError, match="likelihood of 1"):
        language.recall(np.zeros((1, 1)), -np.ones((1, 1)), np.ones((1, 1), bool))


def test_half_a_surrogate_pair_has_a_size():
    assert language.zlib_ratio(-np.ones((1, 1)), np.ones((1, 1), bool), ["\ud800"])[0] < 0
