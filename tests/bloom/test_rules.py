"""Rules that look back, against loops over the text."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.bloom import generate, model, rules
from tests.bloom import golden

VOCAB = 6
CONFIG = dataclasses.replace(golden.CONFIG, eos=-1, pad=3)


def slow_penalty(logits, text, penalty):
    out = np.array(logits, np.float64)
    for row, said in enumerate(text):
        for token in set(said):
            out[row, token] = out[row, token] / penalty if out[row, token] > 0 else (
                out[row, token] * penalty
            )  # fmt: skip
    return out


def slow_repeats(said, size, vocab):
    """The tokens that would make the last run of `size` tokens one that there is."""
    runs = {tuple(said[i : i + size]) for i in range(len(said) - size + 1)}
    head = tuple(said[len(said) - size + 1 :]) if size > 1 else ()
    whole = len(head) == size - 1
    return [whole and (*head, token) in runs for token in range(vocab)]


def padded(rows, time):
    """Texts on the left padding of 0, as (text, there)."""
    text, there = np.zeros((len(rows), time), np.int32), np.zeros((len(rows), time), bool)
    for i, row in enumerate(rows):
        if row:
            text[i, time - len(row) :], there[i, time - len(row) :] = row, True
    return jnp.asarray(text), jnp.asarray(there)


def test_what_was_said_is_penalised_and_padding_was_not_said(key):
    said = [[1, 2, 2], [5], [4, 3, 2, 1]]
    logits = jax.random.normal(key, (3, VOCAB)) * 3
    found = rules.penalise(logits, *padded(said, 5), 1.7)
    np.testing.assert_allclose(found, slow_penalty(logits, said, 1.7), rtol=1e-6)
    np.testing.assert_array_equal(rules.penalise(logits, *padded(said, 5), 1.0), logits)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_a_run_that_there_is_is_banned(size):
    draw = np.random.default_rng(size)
    said = [draw.integers(0, 2, n).tolist() for n in (0, 1, 2, 3, 5, 9, 12, 12, 12)]
    text, there = padded(said, 12)
    room = ((0, 0), (0, 4))  # places that nothing is written in yet
    found = rules.repeats(jnp.pad(text, room), jnp.pad(there, room), jnp.int32(12), size, VOCAB)
    assert found.tolist() == [slow_repeats(row, size, VOCAB) for row in said]
    assert bool(found.any())


def test_runs_longer_than_the_text_ban_nothing():
    text, there = padded([[1, 1]], 2)
    assert not rules.repeats(text, there, jnp.int32(2), 3, VOCAB).any()


def test_a_row_with_no_token_left_stays_as_it_is():
    logits = jnp.asarray([[1.0, 2.0], [3.0, 4.0]])
    found = rules.without(logits, jnp.asarray([[True, True], [True, False]]))
    np.testing.assert_array_equal(found, [[1, 2], [-np.inf, 4]])


def slow(params, config, prompt, count, sampling):
    """Greedy, everything computed again for each token, the rules by loops."""
    said = list(prompt)
    for i in range(count):
        logits = np.asarray(model.apply(params, config, jnp.array([said]))[:, -1], np.float64)
        logits = slow_penalty(logits, [said], sampling.repetition_penalty)[0]
        if sampling.no_repeat:
            logits[slow_repeats(said, sampling.no_repeat, config.vocab)] = -np.inf
        if config.eos >= 0 and i < sampling.least:
            logits[config.eos] = -np.inf
        said.append(int(np.argmax(logits)))
    return said[len(prompt) :]


@pytest.mark.parametrize("scan", [True, False])
@pytest.mark.parametrize(
    "given",
    [{"repetition_penalty": 3.0}, {"no_repeat": 2}, {"repetition_penalty": 1.3, "no_repeat": 1}],
)
def test_a_padded_batch_under_rules_gives_what_a_loop_gives(given, scan):
    params = model.init(jax.random.key(3), CONFIG, std=0.7)
    config = dataclasses.replace(CONFIG, scan=scan)
    sampling = generate.Sampling(**given)
    prompts = [[5, 9, 2, 5, 9], [7]]
    tokens, mask = generate.pad_left(prompts, CONFIG.pad)
    found = generate.generate(params, config, tokens, mask, count=6, sampling=sampling)
    assert found.tolist() == [slow(params, config, p, 6, sampling) for p in prompts]
    plain = generate.generate(params, config, tokens, mask, count=6)
    assert found.tolist() != plain.tolist()


def test_an_end_that_comes_too_early_is_put_off():
    params = model.init(jax.random.key(3), CONFIG, std=0.7)
    prompt = jnp.array([[5, 9, 2]])
    first = int(generate.generate(params, CONFIG, prompt, count=1)[0, 0])
    config = dataclasses.replace(CONFIG, eos=first)
    ended = generate.generate(params, config, prompt, count=4)[0].tolist()
    assert ended == [first, *3 * [CONFIG.pad]]
    sampling = generate.Sampling(least=2)
    found = generate.generate(params, config, prompt, count=4, sampling=sampling)[0].tolist()
    assert first not in found[:2] and CONFIG.pad not in found[:2]
    assert found[:2] == slow(params, config, [5, 9, 2], 2, sampling)


def test_drawn_tokens_keep_the_rules_too(key):
    params = model.init(jax.random.key(3), CONFIG, std=0.7)
    sampling = generate.Sampling(temperature=2.0, no_repeat=1)
    found = generate.generate(
        params, CONFIG, jnp.array([[5, 9], [7, 8]]), count=12, sampling=sampling, key=key
    )
    for prompt, row in zip(([5, 9], [7, 8]), found.tolist(), strict=True):
        assert len({*prompt, *row}) == 14


@pytest.mark.parametrize("scan", [True, False])
def test_a_rule_of_ones_own_sees_the_text_and_has_the_last_word(scan):
    """Only the token after the last one may follow, 2 if nothing was drawn yet."""
    params = model.init(jax.random.key(3), CONFIG, std=0.7)

    def rule(logits, text, there, i):
        last = jnp.max(jnp.where(there, jnp.arange(text.shape[1])[None], -1), axis=1)
        after = jnp.take_along_axis(text, last[:, None], axis=1) + 1
        after = jnp.where(i == 0, 2, after)
        return jnp.where(jnp.arange(logits.shape[1])[None] == after, logits, -jnp.inf)

    tokens, mask = generate.pad_left([[5, 9, 2], [7]], CONFIG.pad)
    config = dataclasses.replace(CONFIG, scan=scan)
    sampling = generate.Sampling(rule=rule)
    found = generate.generate(params, config, tokens, mask, count=4, sampling=sampling)
    assert found.tolist() == 2 * [[2, 3, 4, 5]]
