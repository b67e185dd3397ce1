"""GELU and its derivative against the library's, in every dtype and at the ends."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.nn import gelu

X = jnp.concatenate([jnp.linspace(-6, 6, 997), jnp.array([-1e4, -50.0, 0.0, 50.0, 1e4])])


def value_and_slope(f, x):
    y, pull = jax.vjp(f, x)
    return y, pull(jnp.ones_like(y))[0]


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("float32", 5e-6), ("bfloat16", 1e-2), ("float64", 1e-13)]
)
def test_the_value_is_the_library_s_and_the_slope_the_exact_one(dtype, tolerance):
    with jax.enable_x64(True):
        x = X.astype(dtype)
        y, slope = value_and_slope(gelu.gelu, x)
        plain, _ = value_and_slope(lambda a: jax.nn.gelu(a, approximate=True), x)
        exact = jax.vmap(jax.grad(lambda a: jax.nn.gelu(a, approximate=True)))(
            x.astype(jnp.float64)
        )
    assert y.dtype == slope.dtype == x.dtype
    np.testing.assert_array_equal(y, plain)
    np.testing.assert_allclose(slope.astype(float), exact, atol=tolerance)


def test_far_out_the_slope_is_zero_or_one():
    slope = value_and_slope(gelu.gelu, X)[1]
    np.testing.assert_array_equal(slope[-5:], [0, 0, 0.5, 1, 1])
