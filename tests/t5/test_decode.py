"""Cached decoding and beams against slow twins."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.nn import beams
from fl_jax.t5 import decode, model
from fl_jax.t5.config import Config

CONFIG = Config(vocab=8, width=16, head_width=8, hidden=32, heads=2, buckets=8, max_distance=16,
                encoder_layers=1, decoder_layers=2)  # fmt: skip
PARAMS = model.init(jax.random.key(4), CONFIG)
TOKENS = jnp.array([[5, 6, 7], [3, 2, 0]])
MASK = jnp.array([[True, True, True], [True, True, False]])


def test_greedy_is_the_argmax_of_full_passes():
    found = np.asarray(decode.greedy(PARAMS, CONFIG, TOKENS, MASK, count=5))
    apply = jax.jit(lambda tokens, given, mask: model.apply(PARAMS, CONFIG, tokens, given, mask))
    for row in range(2):
        given = [0]
        for step in range(5):
            scores = apply(TOKENS[row : row + 1], jnp.array([given]), MASK[row : row + 1])
            best = int(jnp.argmax(scores[0, -1]))
            assert found[row, step] == best
            if best == CONFIG.eos:
                assert (found[row, step + 1 :] == CONFIG.pad).all()
                break
            given.append(best)


def test_a_full_cache_takes_no_more():
    states = model.encode(PARAMS, CONFIG, model.embed(PARAMS, CONFIG, TOKENS), MASK)
    memory = model.remember(PARAMS, CONFIG, states, MASK)
    step = lambda cache, width=1: model.decode(
        PARAMS, CONFIG, model.embed(PARAMS, CONFIG, TOKENS[:, :width]), memory, cache=cache
    )
    cache = model.empty_cache(CONFIG, 2, capacity=2)
    with pytest.raises(errors.ConfigError, match="a cache of 2 tokens cannot take 3 after 0"):
        step(cache, 3)
    cache = step(step(cache)[1])[1]
    with pytest.raises(errors.ConfigError, match="a cache of 2 tokens cannot take 1 after 2"):
        step(cache)
    states, cache = jax.jit(step)(cache)  # where that cannot be seen
    assert int(cache.used) == 3
    assert np.isfinite(states).all()


def test_a_wide_beam_finds_the_best_of_all_sequences():
    texts, scores = decode.beam(PARAMS, CONFIG, TOKENS[:1], count=2, search=beams.Search(8, 0.0))
    logs, ways = {}, list(itertools.product(range(8), repeat=2))
    given = jnp.array([[0, first] for first, _ in ways])
    tokens = jnp.tile(TOKENS[:1], (len(ways), 1))
    every = np.asarray(jax.nn.log_softmax(model.apply(PARAMS, CONFIG, tokens, given)))
    for way, p in zip(ways, every, strict=True):
        key = (way[0], 0) if way[0] == CONFIG.eos else way
        logs[key] = float(p[0, way[0]] + (0 if way[0] == CONFIG.eos else p[1, way[1]]))
    best = max(logs, key=logs.get)
    assert tuple(np.asarray(texts)[0, 0].tolist()) == best
    np.testing.assert_allclose(scores[0, 0], logs[best], atol=1e-5)
    assert (np.diff(np.asarray(scores)[0]) <= 0).all()


def test_beams_beyond_all_sequences_are_empty():
    """Eight tokens and thirteen beams: the others were sequences of beams that never were."""
    texts, scores = decode.beam(PARAMS, CONFIG, TOKENS[:1], count=1, search=beams.Search(13, 2.0))
    assert sorted(np.asarray(texts)[0, :8, 0].tolist()) == list(range(8))
    assert np.isfinite(scores[0, :8]).all()
    np.testing.assert_array_equal(texts[0, 8:], np.full((5, 1), CONFIG.pad))
    np.testing.assert_array_equal(scores[0, 8:], np.full(5, -np.inf, np.float32))


def test_decoding_where_64_bits_are_on():
    """The places of a cache were of two dtypes there, which JAX refuses."""
    with jax.enable_x64(True):
        found = decode.greedy(PARAMS, CONFIG, TOKENS, MASK, count=3)
        config = dataclasses.replace(CONFIG, dtype="float64")
        texts, scores = decode.beam(PARAMS, config, TOKENS, MASK, count=3, search=beams.Search(1))
    assert scores.dtype == jnp.float64
    np.testing.assert_array_equal(found, decode.greedy(PARAMS, CONFIG, TOKENS, MASK, count=3))
    np.testing.assert_array_equal(texts[:, 0], found)


@pytest.mark.parametrize("search", [decode.greedy, decode.beam])
def test_what_cannot_be_decoded_is_refused(search):
    with pytest.raises(errors.DataError, match="ids from 0 to 7, but there is a 8"):
        search(PARAMS, CONFIG, jnp.array([[5, 8]]), count=2)
    with pytest.raises(errors.ConfigError, match="count must be a whole number of 1 or more"):
        search(PARAMS, CONFIG, TOKENS, count=0)
