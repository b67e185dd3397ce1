"""T5's attention against the definition, differentiated by JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.t5 import attention

BATCH, QUERIES, KEYS, HEADS, WIDTH = 3, 5, 7, 2, 4


def definition(q, k, v, bias, mask):
    scores = jnp.einsum("bqhd,bkhd->bhqk", q, k)
    if bias is not None:
        scores = scores + jnp.broadcast_to(bias, scores.shape)
    if mask is not None:
        scores = jnp.where(mask, scores, attention.HIDDEN)
    return jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores, axis=-1), v)


def draw(dtype="float32"):
    """(q, k, v), and what the loss weighs the outputs by."""
    draws = np.random.default_rng(0)
    of = lambda time: jnp.asarray(draws.normal(size=(BATCH, time, HEADS, WIDTH)), dtype)
    return [of(QUERIES), of(KEYS), of(KEYS)], of(QUERIES)


def bias_of(shape):
    return jnp.asarray(np.random.default_rng(1).normal(size=shape), jnp.float32)


SEEN = {
    "all": None,
    "keys": np.arange(KEYS)[None, None, None] < np.array([7, 3, 1])[:, None, None, None],
    "causal": (np.arange(KEYS) <= np.arange(QUERIES)[:, None] + 2)[None, None],
    "a row that sees nothing": np.array([True, False, True])[:, None, None, None]
    & np.ones((1, 1, 1, KEYS), bool),
}
BIASES = {
    "none": None,
    "for all rows": (1, HEADS, QUERIES, KEYS),
    "a row each": (BATCH, HEADS, QUERIES, KEYS),
}


@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize("seen", SEEN)
def test_values_and_derivatives(seen, bias):
    given, weigh = draw()
    mask = None if SEEN[seen] is None else jnp.asarray(SEEN[seen])
    if BIASES[bias] is not None:
        given = [*given, bias_of(BIASES[bias])]

    def both(function):
        def loss(*given):
            out = function(*given[:3], given[3] if len(given) > 3 else None)
            return jnp.sum(out * weigh), out

        return jax.jit(jax.value_and_grad(loss, tuple(range(len(given))), has_aux=True))(*given)

    found = both(lambda q, k, v, b: attention.attention(q, k, v, bias=b, mask=mask))
    wanted = both(lambda q, k, v, b: definition(q, k, v, b, mask))
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-6)


def test_bfloat16_stays_close():
    given, weigh = draw()
    bias, mask = bias_of((1, HEADS, QUERIES, KEYS)), jnp.asarray(SEEN["causal"])

    def loss(dtype, function):
        def run(*given):
            out = function(*(a.astype(dtype) for a in given))
            return jnp.sum(out.astype(jnp.float32) * weigh)

        return jax.jit(jax.grad(run, (0, 1, 2)))(*given)

    ours = lambda q, k, v: attention.attention(q, k, v, bias=bias, mask=mask)
    found = loss(jnp.bfloat16, ours)
    wanted = loss(jnp.float32, lambda q, k, v: definition(q, k, v, bias, mask))
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=0.03 * float(jnp.abs(other).max()))


def test_dropout_drops_and_keeps_the_mean():
    (q, k, v), _ = draw()
    still = attention.attention(q, k, v, dropout=0.5)
    np.testing.assert_array_equal(still, attention.attention(q, k, v))
    many = jax.vmap(lambda key: attention.attention(q, k, v, dropout=0.5, key=key))
    found = many(jax.random.split(jax.random.key(0), 4000))
    assert float(jnp.std(found, axis=0).min()) > 0.01
    np.testing.assert_allclose(jnp.mean(found, axis=0), still, atol=0.1)


def test_queries_with_own_keys():
    draws = np.random.default_rng(0)
    q, k, v = (jnp.asarray(draws.normal(size=(1, 2, 2, 4)), jnp.float32) for _ in range(3))
    own = lambda a: jnp.stack([a, a], axis=1)
    bias = jnp.zeros((2, 2))
    np.testing.assert_allclose(
        attention.own_keys(q, own(k), own(v), bias=bias), attention.attention(q, k, v), atol=1e-6
    )
