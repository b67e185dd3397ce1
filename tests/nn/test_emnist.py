"""The EMNIST network: size, twin, dropout."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from fl_jax.core import tree
from fl_jax.nn import conv, emnist, loss, network
from fl_jax.nn.network import Network


def build(**settings) -> Network:
    return network.from_nnx(lambda rngs: emnist.EMNIST(**settings, rngs=rngs))


@pytest.fixture(scope="module")
def params():
    return jax.jit(build().init)(jax.random.key(1))[0]


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.uniform(size=(4, 28, 28, 1)).astype(np.float32))
    return x, jnp.asarray(rng.integers(0, 62, 4).astype(np.int32))


def test_parameters():
    """1,206,590, as published; and no variable but parameters."""
    params, batch_stats = jax.eval_shape(build().init, jax.random.key(0))
    assert tree.size(params) == 1_206_590
    assert tree.size(params["conv2"]) == 3 * 3 * 32 * 64 + 64
    assert batch_stats == {}
    assert (
        tree.size(jax.eval_shape(build(classes=10).init, jax.random.key(0))[0])
        == 1_206_590 - 52 * 129
    )


@pytest.mark.parametrize("method", ["winograd", "patches", "rows"])
def test_gradient_equals_that_of_library_convolutions(params, batch, method):
    x, y = batch

    def gradient(method):
        net = build(method=method)
        f = lambda params: loss.cross_entropy(net.apply(params, {}, x)[0], y).mean()
        return jax.jit(jax.value_and_grad(f))(params)

    value, grads = gradient(method)
    expected_value, expected = gradient("library")
    np.testing.assert_allclose(value, expected_value, rtol=1e-6)
    for name, leaf in tree.named_leaves(tree.sub(grads, expected)).items():
        norm = np.linalg.norm(tree.named_leaves(expected)[name])
        assert np.linalg.norm(leaf) <= 4e-6 * norm, name


def test_dropout_needs_keys_and_training(params, batch):
    x, _ = batch
    net, stats = build(method="patches"), {}
    key = jax.random.key(5)
    plain, _ = net.apply(params, stats, x, train=False)
    dropped, _ = net.apply(params, stats, x, train=True, key=key)
    np.testing.assert_array_equal(net.apply(params, stats, x, train=True)[0], plain)
    np.testing.assert_array_equal(net.apply(params, stats, x, train=False, key=key)[0], plain)
    np.testing.assert_array_equal(net.apply(params, stats, x, train=True, key=key)[0], dropped)
    assert not np.allclose(dropped, plain)


def test_steps_under_vmap_and_scan_equal_a_loop(params, batch):
    """Three clients, two steps each, and the second call compiles nothing."""
    x, y = batch
    net = build()

    def step(params, x, y, net=net):
        f = lambda params: loss.cross_entropy(net.apply(params, {}, x)[0], y).mean()
        return tree.sub(params, tree.scale(0.1, jax.grad(f)(params)))

    def client(x, y):
        return jax.lax.scan(lambda p, xy: (step(p, *xy), None), params, (x, y))[0]

    xs = jnp.stack([jnp.stack([x + 0.1 * c, x * (1 - 0.1 * c)]) for c in range(3)])
    ys = jnp.stack([jnp.stack([y, (y + c) % 62]) for c in range(3)])
    clients = jax.jit(jax.vmap(client))
    together = clients(xs, ys)
    one_step = jax.jit(functools.partial(step, net=build(method="library")))
    for c in range(3):
        alone = one_step(one_step(params, xs[c, 0], ys[c, 0]), xs[c, 1], ys[c, 1])
        moved = tree.norm(tree.sub(alone, params))
        apart = tree.norm(tree.sub(jax.tree.map(lambda a, c=c: a[c], together), alone))
        assert apart <= 1e-5 * moved
    clients(xs + 1, ys)
    assert clients._cache_size() == 1


def test_images_of_another_shape_are_refused(params):
    with pytest.raises(ValueError, match=r"expected images of shape \(n, 28, 28, 1\)"):
        build().apply(params, {}, jnp.ones((2, 32, 32, 3)))


def test_user_can_call_the_module(batch):
    """A module as such, outside any transformation."""
    x, _ = batch

    def use():
        module = emnist.EMNIST(rngs=nnx.Rngs(0))
        return module(x, rngs=nnx.Rngs(dropout=1)), module(x)

    dropped, plain = jax.eval_shape(use)
    assert dropped.shape == plain.shape == (4, 62)


def test_features_take_colours_and_other_sizes(key):
    x = jax.random.normal(key, (2, 16, 12, 3))

    def of(method):
        rngs = nnx.Rngs(0)
        layer = lambda i, o: conv.Conv(i, o, 3, padding="VALID", method=method, rngs=rngs)
        return emnist.features(x, layer(3, 4), layer(4, 5))

    expected = of("patches")
    assert expected.shape == (2, 6, 4, 5)
    np.testing.assert_allclose(of("winograd"), expected, rtol=1e-4, atol=1e-5)
