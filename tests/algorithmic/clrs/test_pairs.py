"""The products over pairs and their derivatives are those of the plain expressions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from algorithmic.clrs import pairs

H, N, B, C, F = 6, 5, 2, 3, 4


def draws(*shapes):
    keys = jax.random.split(jax.random.key(0), len(shapes))
    return [jax.random.normal(key, shape) for key, shape in zip(keys, shapes, strict=True)]


def agree(fast, slow, args, tolerance=1e-5):
    """Values and gradients, the latter along a random direction of the result."""
    value = slow(*args)
    g = jax.random.normal(jax.random.key(9), value.shape)
    along = lambda f: jax.value_and_grad(lambda *a: jnp.sum(f(*a) * g), tuple(range(len(args))))
    np.testing.assert_allclose(fast(*args), value, atol=tolerance, rtol=tolerance)
    (_, found), (_, expected) = (jax.jit(along(f))(*args) for f in (fast, slow))
    for x, y in zip(found, expected, strict=True):
        np.testing.assert_allclose(x, y, atol=tolerance * max(1, np.max(np.abs(y))), rtol=tolerance)


def across(w, x):
    return jnp.einsum("io,i...->o...", w, x)


@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float32, 1e-5), (jnp.bfloat16, 0.05)])
def test_messages(dtype, tolerance):
    heard = jax.random.uniform(jax.random.key(1), (N, N, B)) < 0.7
    heard = heard.at[:, 2, 0].set(False)  # who hears nobody
    args = draws((C, N, N, B), (C, H), (H, N, B), (H, N, B), (H, H), (H,), (H, H), (H,))

    def fast(x, wx, sender, receiver, w1, b1, w2, b2):
        w1, w2 = pairs.weight(w1, dtype), pairs.weight(w2, dtype)
        return pairs.messages(x, wx, sender, receiver, w1, b1, w2, b2, heard)

    def slow(x, wx, sender, receiver, w1, b1, w2, b2):
        bias = lambda b: b[:, None, None, None]
        m = jax.nn.relu(sender[:, :, None] + receiver[:, None] + across(wx, x))
        m = across(w2, jax.nn.relu(across(w1, m) + bias(b1)))
        nobody = jnp.where(jnp.any(heard, 0), 0.0, -pairs.BIG)
        m = jnp.max(jnp.where(heard[None], m, -jnp.inf), 1, initial=-pairs.BIG)
        return jnp.where(nobody[None] < 0, -pairs.BIG, m) + b2[:, None, None]

    if dtype == jnp.float32:
        agree(fast, slow, args)
    # Rounded operands may move a maximum to another sender: only the values are close.
    np.testing.assert_allclose(fast(*args), slow(*args), atol=tolerance, rtol=tolerance)


def test_pointer_scores_with_and_without_edge_outputs():
    shapes = (C, N, N, B), (C, H), (H, N, B), (H, N, B), (H,), (F, N, N, B), (F, H), (H,), (H, H)

    def fast(x, wx, first, second, score, t, wt, bt, wo):
        outputs = pairs.edge_outputs(pairs.weight(wt), bt, t)
        return pairs.pointer_scores(x, wx, outputs, pairs.weight(wo), first, second, score)

    def slow(x, wx, first, second, score, t, wt, bt, wo):
        third = second[:, :, None] + across(wx, x)
        third = third + across(wo, jax.nn.relu(across(wt, t) + bt[:, None, None, None]))
        return jnp.einsum("h,h...->...", score, jnp.maximum(first[:, None], third))

    args = draws(*shapes)
    agree(fast, slow, args)
    plain = lambda x, wx, f, s, score: pairs.pointer_scores(x, wx, None, None, f, s, score)
    direct = lambda x, wx, f, s, score: jnp.einsum(
        "h,h...->...", score, jnp.maximum(f[:, None], s[:, :, None] + across(wx, x))
    )
    agree(plain, direct, args[:5])


@pytest.mark.parametrize("n", [4, pairs.UNROLLED + 1])
def test_max_plus_product_is_the_maximum_of_a_tensor_of_rank_five(n):
    a, b = draws((F, n, n, B), (F, n, n, B))
    mask = jnp.ones((n, B), bool).at[n - 1, 1].set(False)

    def slow(a, b):
        total = a[:, :, :, None] + b[:, :, None]
        return jnp.max(jnp.where(mask[None, :, None, None], total, -jnp.inf), axis=1)

    agree(lambda a, b: pairs.tropical(a, b, mask), slow, (a, b))


def test_a_map_of_nothing_is_nothing():
    none = pairs.weight(jnp.zeros((0, H)))
    assert pairs.product(none, jnp.zeros((0, N, B))).shape == (H, N, B)
    empty = pairs.weight(jnp.zeros((H, 0)))
    assert pairs.product(empty, jnp.zeros((H, N, B))).shape == (0, N, B)
