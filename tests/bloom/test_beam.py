"""Beam search with a cache against one that computes everything again for each token."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.bloom import beam, generate, layout, model, stops
from fl_jax.core import errors
from fl_jax.nn.beams import Search
from fl_jax.train import mesh as meshes
from tests.bloom import golden, test_rules
from tests.nn.test_beams import slow

CONFIG = dataclasses.replace(golden.CONFIG, eos=9, pad=3)
PROMPTS = [[5, 9, 2], [7, 3, 4, 5, 6, 1]]
COUNT = 5


@pytest.fixture(scope="module")
def params():
    """Random; the end mark is made a likely token."""
    params = model.init(jax.random.key(3), CONFIG, std=0.5)
    table = params["embedding"]["table"]
    return {**params, "embedding": {**params["embedding"], "table": table.at[9].multiply(1.5)}}


@functools.cache
def next_logs(params_id, said):
    """log p behind these tokens; what stands to the right is not seen."""
    filled = jnp.array([list(said) + [0] * (12 - len(said))])
    logits = model.apply(KNOWN[params_id], CONFIG, filled)[0, len(said) - 1]
    return np.asarray(jax.nn.log_softmax(logits), np.float64)


KNOWN = {}


def wanted(params, search, prompt, change=lambda logs, said, i: logs, eos=CONFIG.eos):
    KNOWN[id(params)] = params

    def logs(said):
        return change(next_logs(id(params), (*prompt, *said)).copy(), [*prompt, *said], len(said))

    found = slow(search, logs, COUNT, (eos,))
    return [[*said, *(COUNT - len(said)) * [CONFIG.pad]] for _, said in found], [
        score for score, _ in found
    ]


def check(params, found, search, **given):
    for prompt, tokens, scores in zip(PROMPTS, *found, strict=True):
        texts, values = wanted(params, search, prompt, **given)
        assert tokens.tolist() == texts
        np.testing.assert_allclose(scores, values, rtol=1e-4)


SEARCHES = [Search(3), Search(3, 2.0, True), Search(2, 0.5, "never")]


@pytest.mark.parametrize("scan", [True, False])
@pytest.mark.parametrize("search", SEARCHES)
def test_a_padded_batch_finds_what_each_prompt_finds_alone(params, scan, search):
    config = dataclasses.replace(CONFIG, scan=scan)
    tokens, mask = generate.pad_left(PROMPTS, CONFIG.pad)
    found = beam.search(params, config, tokens, mask, count=COUNT, by=search)
    check(params, found, search)
    assert (np.asarray(found[0]) == CONFIG.eos).any()


def test_one_beam_is_greedy(params):
    config = dataclasses.replace(CONFIG, scan=False)
    tokens, mask = generate.pad_left(PROMPTS, CONFIG.pad)
    found, scores = beam.search(params, config, tokens, mask, count=40, by=Search(1, 0.0))
    made, logs = generate.likelihoods(params, config, tokens, mask, count=40)
    np.testing.assert_array_equal(found[:, 0], made)
    np.testing.assert_allclose(scores[:, 0], logs.sum(axis=1), rtol=1e-4)


def test_a_long_search_whose_cache_grows(params):
    tokens, mask = generate.pad_left(PROMPTS, CONFIG.pad)
    never = dataclasses.replace(CONFIG, eos=-1)
    found = [
        beam.search(params, dataclasses.replace(never, scan=scan), tokens, mask, count=65)
        for scan in (True, False)
    ]
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-4)


def test_rules_hold_on_log_probabilities(params):
    rules = generate.Sampling(repetition_penalty=1.5, no_repeat=2, least=3)

    def change(logs, said, i):
        logs = test_rules.slow_penalty(logs[None], [said], 1.5)[0]
        logs[test_rules.slow_repeats(said, 2, CONFIG.vocab)] = -np.inf
        logs[CONFIG.eos] = logs[CONFIG.eos] if i >= 3 else -np.inf
        return logs

    config = dataclasses.replace(CONFIG, scan=False)
    tokens, mask = generate.pad_left(PROMPTS, CONFIG.pad)
    found = beam.search(params, config, tokens, mask, count=COUNT, by=Search(3), rules=rules)
    check(params, found, Search(3), change=change)


def test_a_stop_ends_a_beam_as_the_end_mark_does(params):
    config = dataclasses.replace(CONFIG, scan=False, eos=-1)
    tokens, mask = generate.pad_left(PROMPTS, CONFIG.pad)
    stop = stops.of_tokens([[CONFIG.eos]], CONFIG.vocab)
    found = beam.search(params, config, tokens, mask, count=COUNT, by=Search(3), stop=stop)
    check(params, found, Search(3))


def test_rows_over_devices(params):
    config = dataclasses.replace(CONFIG, scan=False)
    tokens, mask = generate.pad_left(PROMPTS, CONFIG.pad)
    mesh = meshes.MeshConfig(data=2).make(jax.devices()[:2])
    dealt = layout.ready(params, config, mesh)
    check(params, beam.search(dealt, config, tokens, mask, count=COUNT, by=Search(3)), Search(3))


@pytest.mark.parametrize("scan", [True, False])
def test_a_search_where_64_bits_are_on(params, scan):
    config = dataclasses.replace(CONFIG, scan=scan)
    tokens, mask = generate.pad_left(PROMPTS, CONFIG.pad)
    with jax.enable_x64(True):
        found = beam.search(params, config, tokens, mask, count=COUNT, by=Search(3))
    assert found[0].dtype == jnp.int32
    check(params, found, Search(3))


def test_logits_that_are_nan_are_said(params):
    broken = jax.tree.map(lambda a: a * jnp.nan, params)
    found, scores = beam.search(broken, CONFIG, jnp.array([[5, 9, 2]]), count=3, by=Search(2))
    assert found.tolist() == [2 * [[-1, 3, 3]]] and np.isnan(scores).all()
    with pytest.raises(errors.DataError, match="logits are NaN"):
        generate.check_drawn(np.asarray(found))


def test_refusals(params):
    tokens = jnp.array([[5, 9, 2]])
    with pytest.raises(errors.ConfigError, match="but came with temperature 0"):
        beam.search(params, CONFIG, tokens, count=2, rules=generate.Sampling(0.5))
    with pytest.raises(errors.ConfigError, match="cache of 4 tokens cannot hold 3"):
        beam.search(params, CONFIG, tokens, count=5, capacity=4)
    with pytest.raises(errors.ConfigError, match="a vocabulary of 5 tokens, the model's has 32"):
        beam.search(params, CONFIG, tokens, count=2, stop=jnp.zeros((2, 5), int))
