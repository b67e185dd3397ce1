"""materialize: the identity, bit for bit, computed once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.nn import barrier


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_is_the_identity_bit_for_bit(dtype):
    x = np.random.default_rng(0).normal(size=1000)
    x = jnp.asarray([*x, 0.0, -0.0, np.inf, -np.inf, np.nan, 1e-3]).astype(dtype)
    y = jax.jit(barrier.materialize)(x)
    assert y.dtype == x.dtype
    np.testing.assert_array_equal(np.asarray(y).view("u1"), np.asarray(x).view("u1"))


def test_derivatives_are_those_of_the_identity():
    x = jnp.asarray([1.5, -2.0, 3.25])
    cubed = lambda x: jnp.sum(barrier.materialize(x) ** 3)
    np.testing.assert_array_equal(jax.jit(jax.grad(cubed))(x), 3 * x**2)
    np.testing.assert_array_equal(jax.jit(jax.hessian(cubed))(x), jnp.diag(6 * x))
    np.testing.assert_array_equal(jax.jit(jax.vmap(jax.grad(cubed)))(x[:, None])[:, 0], 3 * x**2)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="a property of the CPU compiler")
def test_is_computed_once_for_all_consumers():
    """Sixteen products read the value; its own arithmetic stands in the program once."""

    def program(hold):
        def f(x, w):
            y = hold(jnp.abs(x) - x[::-1])
            return [jnp.roll(y, i, axis=0)[i:].sum(0) * w[i] + y[i] for i in range(1, 9)]

        compiled = jax.jit(f).lower(jnp.ones((256, 64)), jnp.ones((16, 64))).compile()
        return compiled.as_text().count(" abs(")

    assert program(barrier.materialize) == 1
    assert program(lambda y: y) > 1
