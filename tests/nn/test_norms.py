import jax
import jax.numpy as jnp
import numpy as np
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
