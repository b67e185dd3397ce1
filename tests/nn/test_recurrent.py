import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors, tree
from fl_jax.nn import recurrent

TIME, BATCH, INPUTS, WIDTH = 5, 3, 4, 6
WEIGHTS = recurrent.init(jax.random.key(0), INPUTS, WIDTH, scale=0.5)
WEIGHTS["bias"] = jax.random.normal(jax.random.key(3), (4 * WIDTH,))
X = jax.random.normal(jax.random.key(1), (TIME, BATCH, INPUTS))


def slow(weights, x, forget_bias):
    """Step by step, for plain differentiation."""
    h = c = jnp.zeros((x.shape[1], WIDTH))
    out = []
    for inputs in x:
        gates = inputs @ weights["input"] + h @ weights["hidden"] + weights["bias"][None]
        i, g, f, o = jnp.split(gates, 4, axis=-1)
        c = jax.nn.sigmoid(f + forget_bias) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        out.append(h)
    return jnp.stack(out)


@pytest.mark.parametrize("forget_bias", [0.0, 1.0])
def test_states_and_gradients_are_those_of_the_plain_recurrence(forget_bias):
    target = jax.random.normal(jax.random.key(2), (TIME, BATCH, WIDTH))
    value = lambda layer: lambda w, x: jnp.sum(layer(w, x, forget_bias) * target)
    np.testing.assert_allclose(
        recurrent.lstm(WEIGHTS, X, forget_bias), slow(WEIGHTS, X, forget_bias), rtol=1e-5, atol=1e-6
    )
    found = jax.jit(jax.grad(value(recurrent.lstm), (0, 1)))(WEIGHTS, X)
    wanted = jax.jit(jax.grad(value(slow), (0, 1)))(WEIGHTS, X)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_the_papers_model_has_its_size():
    shapes = jax.eval_shape(
        lambda key: recurrent.language_model(key, vocabulary=50_000, width=200), jax.random.key(0)
    )
    assert tree.size(shapes) == 10_693_200 - 2 * 800


def test_the_chunked_loss_is_the_plain_one(key):
    params = recurrent.language_model(key, vocabulary=11, width=4)
    params["bias"] = jnp.linspace(-1, 1, 11)
    words = jax.random.randint(key, (2, 7), 0, 11)
    weights = jnp.asarray(np.random.default_rng(0).random((2, 7)), jnp.float32)

    def plain(params):
        scores = jax.nn.log_softmax(
            jnp.einsum("btd,vd->btv", recurrent.states(params, words), params["embedding"])
            + params["bias"][None, None]
        )
        return -jnp.sum(weights * jnp.take_along_axis(scores, words[..., None], -1)[..., 0])

    def chunked(params):
        return recurrent.cross_entropy(params, recurrent.states(params, words), words, weights)

    a, b = (jax.jit(jax.value_and_grad(loss))(params) for loss in (plain, chunked))
    for got, want in zip(jax.tree.leaves(b), jax.tree.leaves(a), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_dropout_keeps_the_mean_and_needs_a_key(key):
    params = recurrent.language_model(key, vocabulary=11, width=64)
    words = jnp.zeros((50, 2), jnp.int32)
    plain = recurrent.states(params, words, dropout=0.5)
    np.testing.assert_array_equal(plain, recurrent.states(params, words))
    noisy = recurrent.states(params, words, dropout=0.5, key=key)
    assert 0.4 < float((noisy == 0).mean()) < 0.6
    with pytest.raises(errors.ConfigError, match="vocabulary must be above 0"):
        recurrent.language_model(key, vocabulary=0, width=3)
