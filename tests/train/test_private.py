import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.train import private
from fl_jax.train.state import Variables

VARIABLES = Variables({"w": jnp.array([1.0, -2.0]), "b": jnp.array(0.5)}, {})


def loss(variables, batch, key):
    del key
    p = variables.params
    error = batch["x"] @ p["w"] + p["b"] - batch["y"]
    return jnp.mean(error**2), ({}, {})


@pytest.fixture
def batch():
    draws = np.random.default_rng(0)
    x = draws.normal(size=(6, 2)).astype(np.float32)
    return {"x": jnp.asarray(x), "y": jnp.asarray(draws.normal(size=6).astype(np.float32))}


def call(batch, mask, key, **options):
    settings = {"clip": 0.7, "noise_multiplier": 0.0, "expected": 4.0, **options}
    return private.gradient(loss, VARIABLES, batch, jnp.asarray(mask), key, **settings)


def test_each_gradient_is_clipped_by_itself(batch, key):
    mask = np.array([1, 0, 1, 1, 0, 1], np.float32)
    total = np.zeros(3)
    for i in np.flatnonzero(mask):
        x, y = np.asarray(batch["x"][i]), float(batch["y"][i])
        error = x @ [1.0, -2.0] + 0.5 - y
        g = 2 * error * np.append(x, 1.0)
        total += g * min(1, 0.7 / np.linalg.norm(g))
    found = call(batch, mask, key)
    np.testing.assert_allclose([*found["w"], found["b"]], total / 4, rtol=1e-5)


def test_the_noise_has_its_deviation_and_does_not_depend_on_the_data(batch, key):
    nobody = np.zeros(6, np.float32)
    keys = jax.random.split(key, 4000)
    draw = jax.vmap(lambda k: call(batch, nobody, k, noise_multiplier=3.0)["w"])
    found = np.asarray(draw(keys))
    np.testing.assert_allclose(found.std(), 3 * 0.7 / 4, rtol=0.03)
    assert abs(found.mean()) < 0.02
    assert abs(np.corrcoef(found.T)[0, 1]) < 0.05


@pytest.mark.parametrize("rate", [0.0, 2.0, float("nan")])
def test_rates_that_are_no_probability_are_refused(rate):
    with pytest.raises(errors.ConfigError, match="a probability above 0 and at most 1"):
        private.capacity(100, rate)


def test_poisson_samples(key):
    present = jnp.arange(200) % 2 == 0
    places = private.capacity(100, 0.3)
    sample = jax.jit(jax.vmap(lambda k: private.poisson(k, present, 0.3, places)))
    found = sample(jax.random.split(key, 500))
    sizes = np.asarray(found.mask).sum(1)
    assert abs(sizes.mean() - 30) < 1 and abs(sizes.var() - 21) < 5
    assert not np.asarray(found.missed).any()
    rows = np.asarray(found.rows)[np.asarray(found.mask) > 0]
    assert (rows % 2 == 0).all()
    short = private.poisson(key, present, 0.9, 10)
    assert int(short.missed) > 60 and float(short.mask.sum()) == 10


def test_a_clip_of_zero_is_refused(batch, key):
    with pytest.raises(errors.ConfigError, match="clipping norm"):
        call(batch, np.ones(6, np.float32), key, clip=0.0)
    with pytest.raises(errors.ConfigError, match="expected batch size must be above 0"):
        call(batch, np.ones(6, np.float32), key, expected=0.0)


def test_narrow_gradients_are_summed_in_float32(batch, key):
    """300 gradients of 300 are beyond float16."""
    far = lambda v, b, k: (jnp.sum(b["x"] @ v.params["w"]), ({}, {}))
    variables = Variables({"w": jnp.zeros(1, jnp.float16)}, {})
    rows = {"x": jnp.full((300, 1), 300.0, jnp.float16)}
    options = {"clip": 1e3, "noise_multiplier": 0.0, "expected": 300.0}
    mask = jnp.ones(300)
    found = private.gradient(far, variables, rows, mask, key, **options)["w"]
    assert found.dtype == jnp.float16
    assert float(found[0]) == 300.0


def test_what_is_not_finite_moves_nothing(batch, key):
    """Neither a row that was not drawn nor one that was: none moves the sum by more than C."""
    drawn = np.array([1, 0, 1, 1, 0, 1], np.float32)
    broken = {**batch, "x": batch["x"].at[1].set(jnp.nan).at[3].set(jnp.inf)}
    found = call(broken, drawn, key)
    expected = call(batch, drawn * np.array([1, 1, 1, 0, 1, 1], np.float32), key)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), found, expected)


def test_narrow_gradients_are_no_longer_than_the_bound():
    """This bound is rounded up to 1.0078 in bfloat16; seven of them come out as 7.0625."""
    bound = 1.0048828125
    far = lambda v, b, k: (jnp.sum(b["x"] @ v.params["w"]), ({}, {}))
    variables = Variables({"w": jnp.zeros(1, jnp.bfloat16)}, {})
    rows = {"x": jnp.full((7, 1), 3.0, jnp.bfloat16)}
    options = {"clip": bound, "noise_multiplier": 0.0, "expected": 1.0}
    found = private.gradient(far, variables, rows, jnp.ones(7), jax.random.key(0), **options)["w"]
    assert 7 < float(found[0]) <= 7 * bound


@pytest.mark.parametrize("rate", [2.0**-23, 1e-6, 0.1, 0.3, 1.0])
def test_nobody_is_drawn_more_often_than_is_accounted(rate):
    """The share of all uniform float32 numbers that are below the threshold, counted."""
    below = private.threshold(rate)
    assert rate - 2.0**-23 < below <= rate
    numbers = np.arange(2**23, dtype=np.float32) * np.float32(2.0**-23)
    assert np.count_nonzero(numbers < np.float32(below)) == below * 2**23


def test_a_rate_that_cannot_be_drawn_is_refused():
    with pytest.raises(errors.ConfigError, match="multiples of 2\\^-23"):
        private.threshold(1e-7)
