"""Pooling against the library's windows, ties included."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import test_util

from fl_jax.nn import pool


def library(x, size):
    window = (1, size, size, 1)
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, window, "VALID")


@pytest.mark.parametrize(
    ("shape", "size"), [((2, 6, 8, 3), 2), ((1, 9, 9, 2), 3), ((2, 7, 5, 1), 2)]
)
@pytest.mark.parametrize("ties", [False, True])
def test_max_pool_equals_the_library_in_value_and_gradient(shape, size, ties):
    """With small integers nearly every window has a tie, and the derivative goes to its first."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 3, shape) if ties else rng.normal(size=shape)
    x = jnp.asarray(x.astype(np.float32))
    y, pull = jax.vjp(lambda x: pool.max_pool(x, size), x)
    expected, pull_expected = jax.vjp(lambda x: library(x, size), x)
    np.testing.assert_array_equal(y, expected)
    cotangent = jnp.asarray(rng.normal(size=y.shape).astype(np.float32))
    np.testing.assert_array_equal(pull(cotangent)[0], pull_expected(cotangent)[0])


def test_avg_pool_is_the_mean_of_windows():
    x = jnp.arange(2 * 5 * 4 * 1, dtype=jnp.float32).reshape(2, 5, 4, 1)
    y = pool.avg_pool(x, 2)
    assert y.shape == (2, 2, 2, 1)
    np.testing.assert_array_equal(y[0, 1, 0, 0], (8 + 9 + 12 + 13) / 4)
    np.testing.assert_array_equal(jax.grad(lambda x: pool.avg_pool(x, 2).sum())(x)[:, :4], 0.25)


@pytest.mark.parametrize("f", [pool.max_pool, pool.avg_pool])
def test_derivatives_against_finite_differences(f):
    x = jnp.asarray(np.random.default_rng(3).permutation(32).astype(np.float32)).reshape(1, 4, 4, 2)
    g = jax.jit(lambda x: jnp.sum(jnp.sin(f(x, 2))))
    test_util.check_grads(g, (x,), order=2, rtol=2e-2)


def test_under_vmap():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(3, 2, 4, 4, 2)).astype(np.float32))
    gradient = jax.grad(lambda x: jnp.sum(pool.max_pool(x, 2) ** 2))
    np.testing.assert_array_equal(jax.vmap(gradient)(x), jnp.stack([gradient(a) for a in x]))


@pytest.mark.parametrize("largest", [0, 301, 398])
def test_windows_of_more_pixels_than_bfloat16_counts(largest):
    """Places beyond 256 were rounded onto each other, and neighbours took the derivative too."""
    x = jnp.zeros((1, 20, 20, 1), jnp.bfloat16).at[0, largest // 20, largest % 20, 0].set(1)
    got = jax.grad(lambda x: pool.max_pool(x, 20).astype(jnp.float32).sum())(x)
    np.testing.assert_array_equal(got, x)
