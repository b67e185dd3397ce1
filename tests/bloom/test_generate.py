"""Generation against recomputing everything; sampling against its definition."""

import dataclasses
import functools
import inspect
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.bloom import generate, model
from fl_jax.core import errors
from fl_jax.train import mesh as meshes
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
    assert [end for end, _ in generate._stages(6, 65, 71)] == [33, 65]
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


def test_ready_weights_and_rows_over_devices(params, key):
    """Laid out once, and dealt over two devices: the same draws."""
    config = dataclasses.replace(CONFIG, scan=False)
    tokens, mask = generate.pad_left([[5, 9, 2], [7, 3, 4, 5]], CONFIG.pad)
    mesh = meshes.MeshConfig(data=2).make(jax.devices()[:2])
    make = lambda weights: generate.generate(
        weights, config, tokens, mask, count=3, sampling=generate.Sampling(1.0), key=key
    )
    wanted, dealt = make(params), generate.ready(params, config, mesh)
    np.testing.assert_array_equal(make(generate.ready(params, config)), wanted)
    np.testing.assert_array_equal(make(dealt), wanted)
    with pytest.raises(errors.ConfigError, match="made ready for a config with another `scan`"):
        generate.generate(dealt, dataclasses.replace(config, scan=True), tokens, mask, count=3)
    with pytest.raises(errors.ConfigError, match="3 sequences cannot be split over 2 devices"):
        generate.generate(dealt, config, jnp.ones((3, 2), int), count=1)


def test_top_k_and_top_p_keep_what_they_should(key):
    logits = jnp.log(jnp.array([[0.5, 0.3, 0.15, 0.05]]))
    rows = jnp.tile(logits, (2000, 1))
    shares = lambda sampling: np.bincount(generate.sample(key, rows, sampling), minlength=4) / 2000
    np.testing.assert_allclose(shares(generate.Sampling(1.0)), [0.5, 0.3, 0.15, 0.05], atol=0.04)
    kept = shares(generate.Sampling(1.0, top_k=2))
    np.testing.assert_allclose(kept, [0.625, 0.375, 0, 0], atol=0.04)
    kept = shares(generate.Sampling(1.0, top_p=0.81))
    np.testing.assert_allclose(kept, [0.526, 0.316, 0.158, 0], atol=0.04)
    np.testing.assert_array_equal(shares(generate.Sampling(1.0, top_p=1e-9)), [1, 0, 0, 0])
    kept = shares(generate.Sampling(1.0, min_p=0.29))  # of 0.5: 0.15 is above it
    np.testing.assert_allclose(kept, [0.526, 0.316, 0.158, 0], atol=0.04)
    np.testing.assert_array_equal(shares(generate.Sampling(1.0, min_p=1.0)), [1, 0, 0, 0])
    both = shares(generate.Sampling(1.0, top_k=3, top_p=0.6))
    assert (both > 0).tolist() == [True, True, False, False]


@pytest.mark.parametrize("temperature", [1e-45, 1e-38, 1e-20])
@pytest.mark.parametrize("more", [{}, {"top_p": 0.5}, {"top_k": 2}])
def test_a_temperature_near_0_takes_the_likeliest(key, temperature, more):
    """The logits over it are beyond float32, and a softmax of infinities is none."""
    drawn = generate.sample(
        key, jnp.array([[1.0, 3.0, 2.0, -5.0]]), generate.Sampling(temperature, **more)
    )
    assert drawn.tolist() == [1]


def test_refusals(params):
    with pytest.raises(errors.ConfigError, match="cache of 4 tokens cannot hold 3"):
        generate.generate(params, CONFIG, jnp.array([[5, 9, 2]]), count=5, capacity=4)
    with pytest.raises(errors.DataError, match="ids from 0 to 31, but there is a 40"):
        generate.generate(params, CONFIG, jnp.array([[5, 40]]), count=5)
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


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"temperature": -0.01}, "temperature must be finite and 0 or above, got -0.01"),
        ({"temperature": float("nan")}, "temperature must be finite"),
        ({"temperature": 1.0, "top_k": -1}, "top_k must be a whole number of 0 or more, got -1"),
        ({"temperature": 1.0, "top_p": 0.0}, "top_p must be above 0 and at most 1, got 0.0"),
        ({"temperature": 1.0, "top_p": 1.5}, "top_p must be above 0 and at most 1, got 1.5"),
        ({"min_p": -0.1}, r"min_p must lie in \[0, 1\], got -0.1"),
        ({"repetition_penalty": 0.0}, "repetition_penalty must be finite and above 0, got 0.0"),
        ({"no_repeat": -1}, "no_repeat must be a whole number of 0 or more, got -1"),
        ({"least": -1}, "least must be a whole number of 0 or more, got -1"),
    ],
)
def test_what_nothing_can_be_drawn_by_is_refused(given, message):
    with pytest.raises(errors.ConfigError, match=message):
        generate.Sampling(**given)


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
        generate.complete(broken, config, words, ["x"], count=3, sampling=drawn, key=key)


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
