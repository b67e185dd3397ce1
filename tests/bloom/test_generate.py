"""Generation against recomputing everything; sampling against its definition."""

import dataclasses
import functools
import inspect
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.bloom import generate, model, stops, texts
from fl_jax.core import errors
from tests.bloom import golden

CONFIG = dataclasses.replace(golden.CONFIG, eos=-1, pad=3)


@pytest.fixture(scope="module")
def params():
    """Random and large: greedy continuations that vary."""
    return model.init(jax.random.key(3), CONFIG, std=0.7)


def slow(params, config, prompt, count):
    """Everything computed again for each token; what stands to the right is not seen."""
    tokens = list(prompt)
    for _ in range(count):
        filled = jnp.array([tokens + [0] * (12 - len(tokens))])
        logits = model.apply(params, config, filled)
        tokens.append(int(jnp.argmax(logits[0, len(tokens) - 1])))
    return tokens[len(prompt) :]


def test_golden_continuation():
    config = dataclasses.replace(golden.CONFIG, eos=-1)
    made = generate.generate(golden.params(), config, golden.TOKENS, count=8)
    np.testing.assert_array_equal(made, [[18] * 8])


@pytest.mark.parametrize("scan", [True, False])
def test_a_padded_batch_gives_what_each_prompt_gives_alone(params, scan):
    config = dataclasses.replace(CONFIG, scan=scan)
    prompts = [[5, 9, 2], [7, 3, 4, 5, 6, 1]]
    tokens, mask = generate.pad_left(prompts, CONFIG.pad)
    made = generate.generate(params, config, tokens, mask, count=5)
    for row, prompt in zip(made, prompts, strict=True):
        assert np.asarray(row).tolist() == slow(params, CONFIG, prompt, 5)


def test_a_long_generation_whose_cache_grows(params):
    """Two stages against the model as it is, which has its whole cache from the start."""
    tokens, mask = generate.pad_left([[5, 9, 2], [7, 3, 4, 5, 6, 1]], CONFIG.pad)
    made = [
        generate.generate(params, dataclasses.replace(CONFIG, scan=scan), tokens, mask, count=65)
        for scan in (True, False)
    ]
    assert [end for end, _ in generate.stages((None, []), 6, 65, 71)] == [33, 65]
    np.testing.assert_array_equal(*made)


@pytest.mark.parametrize("scan", [True, False])
def test_a_finished_row_continues_with_padding(params, scan):
    first = slow(params, CONFIG, [5, 9, 2], 4)
    config = dataclasses.replace(CONFIG, eos=first[1], scan=scan)
    made = np.asarray(generate.generate(params, config, jnp.array([[5, 9, 2]]), count=4))[0]
    end = first.index(first[1])
    assert made.tolist() == [*first[: end + 1], *[3] * (3 - end)]


@pytest.mark.parametrize("scan", [True, False])
def test_generation_where_64_bits_are_on(params, scan):
    """The places of a cache were of two dtypes there, which JAX refuses."""
    config = dataclasses.replace(CONFIG, scan=scan)
    tokens, mask = generate.pad_left([[5, 9, 2], [7, 3, 4, 5]], CONFIG.pad)
    make = lambda: generate.generate(params, config, tokens, mask, count=3)
    wanted = make()
    with jax.enable_x64(True):
        made = make()
    assert made.dtype == jnp.int32
    np.testing.assert_array_equal(made, wanted)


@pytest.mark.parametrize("scan", [True, False])
def test_bfloat16(params, scan):
    """Every token is the likeliest, or as good as that, after what was made before it."""
    config = dataclasses.replace(CONFIG, dtype="bfloat16", scan=scan)
    prompt = jnp.array([[5, 9, 2], [7, 3, 4]])
    made = generate.generate(params, config, prompt, count=5)
    logits = model.apply(params, CONFIG, jnp.concatenate([prompt, made], axis=1))[:, 2:-1]
    chosen = jnp.take_along_axis(logits, made[..., None], axis=-1)[..., 0]
    np.testing.assert_array_less(jnp.max(logits, axis=-1) - chosen, 0.05 * jnp.std(logits))


@pytest.mark.parametrize("scan", [True, False])
def test_drawing_depends_on_key_and_row_alone(params, key, scan):
    config = dataclasses.replace(CONFIG, scan=scan)
    drawn = generate.Sampling(temperature=1.0)
    prompt = jnp.array([[5, 9, 2]])
    make = lambda tokens, key: generate.generate(
        params, config, tokens, count=6, sampling=drawn, key=key
    )
    two = make(jnp.tile(prompt, (2, 1)), key)
    np.testing.assert_array_equal(make(prompt, key)[0], two[0])
    assert not np.array_equal(two[0], two[1])
    with pytest.raises(errors.ConfigError, match="needs a key"):
        make(prompt, None)


def test_refusals(params):
    with pytest.raises(errors.ConfigError, match="cache of 4 tokens cannot hold 3"):
        generate.generate(params, CONFIG, jnp.array([[5, 9, 2]]), count=5, capacity=4)
    with pytest.raises(errors.DataError, match="ids from 0 to 31, but there is a 40"):
        generate.generate(params, CONFIG, jnp.array([[5, 40]]), count=5)
    for scan in (True, False):
        deep = dataclasses.replace(CONFIG, layers=3, scan=scan)
        with pytest.raises(errors.ConfigError, match="have layers=2 and the config layers=3;"):
            generate.generate(params, deep, jnp.array([[5, 9, 2]]), count=5)
    with pytest.raises(errors.DataError, match="a prompt is empty"):
        generate.pad_left([[1], []], 3)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ([[1, 1, 0]], "ends in padding"),  # on the right: its padding was continued, in silence
        ([[0, 0, 0]], "or is nothing else"),
    ],
)
def test_prompts_that_do_not_end_at_the_right_edge_are_refused(params, mask, message):
    tokens = jnp.array([[5, 9, 2]])
    with pytest.raises(errors.DataError, match=message):
        generate.generate(params, CONFIG, tokens, jnp.array(mask, bool), count=2)


def test_no_tokens_are_refused(params):
    with pytest.raises(errors.ConfigError, match="count must be a whole number of 1 or more"):
        generate.generate(params, CONFIG, jnp.array([[5, 9, 2]]), count=0)


@pytest.mark.parametrize("scan", [True, False])
@pytest.mark.parametrize("drawn", [generate.GREEDY, generate.Sampling(1.0)])
def test_logits_that_are_nan_end_a_row_and_are_said(params, key, scan, drawn):
    """Token 32 of 32 came of them, or 0, which a tokenizer prints as nothing."""
    config = dataclasses.replace(CONFIG, scan=scan)
    broken = jax.tree.map(lambda a: a * jnp.nan, params)
    tokens = jnp.array([[5, 9, 2]])
    found = generate.generate(broken, config, tokens, count=3, sampling=drawn, key=key)
    assert found.tolist() == [[-1, CONFIG.pad, CONFIG.pad]]
    words = types.SimpleNamespace(encode=lambda text: [5, 9, 2])
    with pytest.raises(errors.DataError, match="logits are NaN"):
        texts.complete(broken, config, words, ["x"], count=3, sampling=drawn, key=key)


@pytest.mark.parametrize("shape", [(1, 4), (2, 3), (3,)])
def test_masks_of_another_shape_are_refused(params, shape):
    given = params, CONFIG, jnp.array([[5, 9, 2]]), jnp.ones(shape, bool)
    apply, make = map(inspect.unwrap, (model.apply, generate.generate))  # unseen by a type checker
    for use in (apply, functools.partial(make, count=2)):
        with pytest.raises(errors.DataError, match=r"every token, \(1, 3\), but"):
            use(*given)


@pytest.mark.parametrize("scan", [True, False])
def test_no_prompts_give_no_tokens(params, scan):
    config = dataclasses.replace(CONFIG, scan=scan)
    assert generate.generate(params, config, jnp.zeros((0, 3), int), count=2).shape == (0, 2)


@pytest.mark.parametrize("scan", [True, False])
@pytest.mark.parametrize("drawn", [generate.GREEDY, generate.Sampling(0.7, no_repeat=1)])
def test_the_likelihoods_of_what_was_made(params, key, scan, drawn):
    """Against the model over the whole text; 0 behind the end."""
    tokens, mask = generate.pad_left([[5, 9, 2], [7, 3, 4, 5, 6, 1]], CONFIG.pad)
    free = generate.generate(params, CONFIG, tokens, mask, count=5, sampling=drawn, key=key)
    config = dataclasses.replace(CONFIG, scan=scan, eos=int(free[0, 2]))
    asked = {"count": 5, "sampling": drawn, "key": key}
    made, logs = generate.likelihoods(params, config, tokens, mask, **asked)
    np.testing.assert_array_equal(made, generate.generate(params, config, tokens, mask, **asked))
    there = jnp.pad(mask, [(0, 0), (0, 5)], constant_values=True)
    every = model.apply(params, CONFIG, jnp.concatenate([tokens, made], axis=1), there)
    every = jax.nn.log_softmax(every[:, 5:-1], axis=-1)
    wanted = np.array(jnp.take_along_axis(every, made[..., None], axis=-1)[..., 0])
    for row, some in zip(np.asarray(made), wanted, strict=True):
        if config.eos in row:
            some[row.tolist().index(config.eos) + 1 :] = 0
    assert (wanted[0] == 0).any()
    np.testing.assert_allclose(logs, wanted, atol=1e-4)


@pytest.mark.parametrize("scan", [True, False])
def test_a_row_ends_with_the_first_stop(params, scan):
    config = dataclasses.replace(CONFIG, scan=scan)
    tokens, mask = generate.pad_left([[5, 9, 2], [7, 3, 4, 5, 6, 1]], CONFIG.pad)
    free = np.asarray(generate.generate(params, config, tokens, mask, count=8)).tolist()
    stop = stops.of_tokens([free[0][2:4], free[1][4:7]], CONFIG.vocab)
    made = generate.generate(params, config, tokens, mask, count=8, stop=stop)
    for row, whole in zip(made.tolist(), free, strict=True):
        state, end = 0, 0
        while end < 8 and state < len(stop) - 1:
            state, end = int(stop[state, whole[end]]), end + 1
        assert row == [*whole[:end], *(8 - end) * [CONFIG.pad]]
    assert made[0, -1] == CONFIG.pad
    with pytest.raises(errors.ConfigError, match="a vocabulary of 5 tokens, the model's has 32"):
        generate.generate(params, config, tokens, mask, count=2, stop=jnp.zeros((2, 5), int))
