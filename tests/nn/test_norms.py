import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from fl_jax.nn import network, norms

NET = network.from_nnx(lambda rngs: norms.BatchNorm(3, rngs=rngs))
X = np.random.default_rng(0).normal(2.0, 3.0, (6, 4, 5, 3)).astype(np.float32)


def test_it_normalises_and_moves_its_statistics_as_pytorch_does(key):
    params, stats = NET.init(key)
    y, moved = NET.apply(params, stats, jnp.asarray(X), train=True)
    mean, var = X.mean((0, 1, 2)), X.var((0, 1, 2))
    np.testing.assert_allclose(y, (X - mean) / np.sqrt(var + 1e-5), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(moved["mean"], 0.1 * mean, rtol=1e-5)
    np.testing.assert_allclose(moved["var"], 0.9 + 0.1 * X.var((0, 1, 2), ddof=1), rtol=1e-5)
    still, _ = NET.apply(params, moved, jnp.asarray(X))
    expected = (X - np.asarray(moved["mean"])) / np.sqrt(np.asarray(moved["var"]) + 1e-5)
    np.testing.assert_allclose(still, expected, rtol=1e-4, atol=1e-5)


def test_a_running_variance_that_noise_took_below_zero_gives_numbers(key):
    params, stats = NET.init(key)
    stats = {**stats, "var": jnp.array([-0.04, 1.0, 0.0])}
    y, _ = NET.apply(params, stats, jnp.asarray(X))
    assert bool(jnp.isfinite(y).all())


def test_masked_examples_count_for_nothing(key):
    params, stats = NET.init(key)
    filled = np.concatenate([X, np.full((3, 4, 5, 3), 1e6, np.float32)])
    mask = jnp.array([1.0] * 6 + [0.0] * 3)
    y, moved = NET.apply(params, stats, jnp.asarray(filled), train=True, mask=mask)
    short, expected = NET.apply(params, stats, jnp.asarray(X), train=True)
    np.testing.assert_allclose(y[:6], short, rtol=1e-4, atol=1e-5)
    for name in ("mean", "var"):
        np.testing.assert_allclose(moved[name], expected[name], rtol=1e-5)

    def loss(x, mask):
        out, _ = NET.apply(params, stats, x, train=True, mask=mask)
        return jnp.sum(jnp.sin(out[:6]))

    padded, plain = jax.grad(loss)(jnp.asarray(filled), mask), jax.grad(loss)(jnp.asarray(X), None)
    np.testing.assert_allclose(padded[:6], plain, rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(padded[6:], 0)


def test_it_equals_the_library_layer(key):
    layer = nnx.BatchNorm(3, momentum=0.9, epsilon=1e-5, rngs=nnx.Rngs(0))
    layer.train()
    y, _ = NET.apply(*NET.init(key), jnp.asarray(X), train=True)
    with jax.numpy_rank_promotion("allow"):
        np.testing.assert_allclose(y, layer(jnp.asarray(X)), rtol=1e-4, atol=1e-5)


def plain(x, scale, bias, eps=1e-5):
    mean = jnp.mean(x, -1, keepdims=True)
    variance = jnp.var(x, -1, keepdims=True)
    shape = (1,) * (x.ndim - 1) + (-1,)
    return (x - mean) / jnp.sqrt(variance + eps) * scale.reshape(shape) + bias.reshape(shape)


@pytest.mark.parametrize("shape", [(7,), (3, 7), (2, 3, 16)])
def test_layer_norm_and_its_derivative(shape):
    keys = jax.random.split(jax.random.key(0), 4)
    x, g = (3 * jax.random.normal(k, shape) + 2 for k in keys[:2])
    scale, bias = (jax.random.normal(k, shape[-1:]) for k in keys[2:])
    wanted, wanted_pull = jax.vjp(plain, x, scale, bias)
    found, pull = jax.vjp(norms.layer_norm, x, scale, bias)
    for a, b in zip([found, *pull(g)], [wanted, *wanted_pull(g)], strict=True):
        np.testing.assert_allclose(a, b, atol=3e-5)


def test_layer_norm_of_a_constant_row_is_finite():
    x = jnp.full((2, 8), 5.0)
    grad = jax.grad(lambda x: jnp.sum(norms.layer_norm(x, jnp.ones(8), jnp.zeros(8)) ** 2))(x)
    assert bool(jnp.all(jnp.isfinite(grad)))


def test_layer_norm_keeps_bfloat16_and_counts_in_float32():
    x = (1000 + jax.random.normal(jax.random.key(0), (4, 64))).astype(jnp.bfloat16)
    ones, zeros = jnp.ones(64, jnp.bfloat16), jnp.zeros(64, jnp.bfloat16)
    found = norms.layer_norm(x, ones, zeros)
    assert found.dtype == jnp.bfloat16
    wanted = plain(x.astype(jnp.float32), jnp.ones(64), jnp.zeros(64))
    np.testing.assert_allclose(found.astype(jnp.float32), wanted, atol=0.02)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_batch_statistics_of_narrow_floats(key, dtype):
    """Counted in bfloat16, 601 rows were 600; in float16, 80,000 pixels were infinitely many."""
    params, stats = NET.init(key)
    x = jnp.full((1, 601, 150, 3), 3.0, dtype).at[:, ::2].set(1)
    y, moved = NET.apply(params, stats, x, train=True)
    assert y.dtype == jnp.float32
    wide = np.asarray(x, np.float64)
    np.testing.assert_allclose(moved["mean"], 0.1 * wide.mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(np.mean(y, (0, 1, 2)), 0, atol=1e-5)


@pytest.mark.parametrize("train", [True, False])
def test_batch_norm_with_narrow_parameters_keeps_their_dtype(key, train):
    narrow = jax.tree.map(lambda a: a.astype(jnp.bfloat16), NET.init(key))
    y, moved = NET.apply(*narrow, jnp.asarray(X), train=train)
    expected, wide = NET.apply(*NET.init(key), jnp.asarray(X), train=train)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    for name in ("mean", "var"):
        assert moved[name].dtype == jnp.bfloat16
        np.testing.assert_allclose(moved[name].astype(jnp.float32), wide[name], rtol=2**-8)
