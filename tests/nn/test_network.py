import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from fl_jax.core import errors
from fl_jax.nn import network, norms


class Net(nnx.Module):
    def __init__(self, rngs):
        self.dense = nnx.Linear(3, 4, rngs=rngs)
        self.norm = norms.BatchNorm(4, rngs=rngs)
        self.drop = nnx.Dropout(0.5)

    def __call__(self, x, *, mask=None, rngs=None):
        return self.drop(self.norm(self.dense(x), mask=mask), rngs=rngs)


NET = network.from_nnx(Net)
X = jnp.arange(12.0).reshape(4, 3) / 10


def test_it_is_plain_dictionaries_and_pure(key):
    params, stats = NET.init(key)
    assert set(params) == {"dense", "norm"}
    before = jax.tree.map(np.array, (params, stats))
    y, moved = NET.apply(params, stats, X, train=True, key=key)
    jax.tree.map(np.testing.assert_array_equal, before, (params, stats))
    assert not np.allclose(moved["norm"]["mean"], stats["norm"]["mean"])
    assert y.shape == (4, 4)


def test_training_mode_draws_dropout_from_the_key_and_test_mode_does_not(key):
    params, stats = NET.init(key)
    one, _ = NET.apply(params, stats, X, train=True, key=key)
    two, _ = NET.apply(params, stats, X, train=True, key=jax.random.fold_in(key, 1))
    assert not np.allclose(one, two)
    still, same = NET.apply(params, stats, X)
    again, _ = NET.apply(params, stats, X)
    np.testing.assert_array_equal(still, again)
    jax.tree.map(np.testing.assert_array_equal, same, stats)


def test_it_is_lifted_over_clients_under_grad_and_scan(key):
    keys = jax.random.split(key, 3)
    params, stats = jax.vmap(NET.init)(keys)

    def loss(p, s, k):
        y, s = NET.apply(p, s, X, train=True, key=k)
        return jnp.sum(y**2), s

    def train(p, s, k):
        def one(carry, _):
            p, s = carry
            grads, s = jax.grad(loss, has_aux=True)(p, s, k)
            return (jax.tree.map(lambda a, g: a - 0.01 * g, p, grads), s), None

        return jax.lax.scan(one, (p, s), length=3)[0]

    together = jax.jit(jax.vmap(train))(params, stats, keys)
    alone = train(*jax.tree.map(lambda a: a[1], (params, stats)), keys[1])
    for a, b in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
        np.testing.assert_allclose(a[1], b, rtol=1e-4, atol=1e-5)


def test_modules_that_keep_keys_are_refused():
    class Keeps(nnx.Module):
        def __init__(self, rngs):
            self.drop = nnx.Dropout(0.5, rngs=rngs)

        def __call__(self, x):
            return self.drop(x)

    with pytest.raises(ValueError, match=r"parameters and batch statistics only.*\['drop'\]"):
        network.from_nnx(Keeps)


def test_statistics_without_a_mask_are_not_trained_on_padding(key):
    class Plain(nnx.Module):
        def __init__(self, rngs):
            self.norm = nnx.BatchNorm(3, rngs=rngs)

        def __call__(self, x):
            return self.norm(x)

    net = network.from_nnx(Plain)
    params, stats = net.init(key)
    net.apply(params, stats, jnp.ones((4, 3)), train=True)
    with pytest.raises(errors.ConfigError, match="Plain has batch statistics, in which the rows"):
        net.apply(params, stats, jnp.ones((4, 3)), train=True, mask=jnp.ones(4))
    net.apply(params, stats, jnp.ones((4, 3)), mask=jnp.ones(4))  # evaluation reads them alone


def test_another_method_runs_on_the_same_arrays(key):
    class Parts(nnx.Module):
        def __init__(self, rngs):
            self.body = nnx.Linear(3, 4, rngs=rngs)
            self.head = nnx.Linear(4, 2, rngs=rngs)

        def features(self, x):
            return self.body(x)

        def __call__(self, x):
            return self.head(self.features(x))

    whole, encoder = network.from_nnx(Parts), network.from_nnx(Parts, method="features")
    variables, x = whole.init(key), jnp.ones((5, 3))
    seen, _ = encoder.apply(*variables, x)
    head = variables[0]["head"]
    np.testing.assert_allclose(
        seen @ head["kernel"] + head["bias"][None], whole.apply(*variables, x)[0], rtol=1e-6
    )
    with pytest.raises(errors.ConfigError, match="Parts has no method 'feature' to run"):
        network.from_nnx(Parts, method="feature")


def test_statistics_that_were_left_behind_are_missed(key):
    net = network.from_nnx(lambda rngs: nnx.BatchNorm(3, rngs=rngs))
    params, _ = net.init(key)
    with pytest.raises(errors.ConfigError, match=r"has 2 arrays of batch statistics, but 0 came"):
        net.apply(params, {}, jnp.ones((4, 3)))
