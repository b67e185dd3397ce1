"""Products and their derivatives against the plain ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.nn import dense


@pytest.mark.parametrize(
    ("batch", "ins", "outs"),
    [((5,), (3,), (7,)), ((2, 5), (2, 3), (4,))],
    ids=str,
)
def test_values_and_derivatives(batch, ins, outs, key):
    a, b, c = jax.random.split(key, 3)
    x, kernel = jax.random.normal(a, batch + ins), jax.random.normal(b, ins + outs)
    g = jax.random.normal(c, batch + outs)

    def both(function):
        out, pull = jax.vjp(function, x, kernel)
        return out, *pull(g)

    plain = lambda x, kernel: jnp.tensordot(x, kernel, axes=len(ins))
    found = jax.jit(lambda: both(lambda x, k: dense.dense(x, k, len(ins))))()
    wanted = jax.jit(lambda: both(plain))()
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_clients_side_by_side(key):
    """Under vmap, with one matrix for all or one each."""
    x = jax.random.normal(key, (3, 4, 5))
    kernel = jax.random.normal(jax.random.fold_in(key, 1), (5, 2))
    of = lambda k, x: jax.grad(lambda k: jnp.sum(jnp.sin(dense.dense(x, k))))(k)
    found = jax.jit(jax.vmap(of, (None, 0)))(kernel, x)
    each = jax.jit(jax.vmap(of))(jnp.tile(kernel[None], (3, 1, 1)), x)
    np.testing.assert_allclose(found, each, atol=1e-5)
    plain = lambda x: jnp.einsum("th,to->ho", x, jnp.cos(jnp.matmul(x, kernel)))
    np.testing.assert_allclose(found[1], plain(x[1]), atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_bias_is_summed_in_float32(dtype, key):
    """4,096 equal rows: a sum in bfloat16 would stand still at 256."""
    y, b = jnp.zeros((2, 2048, 3, 2), dtype), jax.random.normal(key, (3, 2), dtype)
    out, pull = jax.vjp(dense.bias, y, b)
    np.testing.assert_array_equal(out, jnp.broadcast_to(b, y.shape))
    dy, db = jax.jit(pull)(jnp.ones_like(y))
    assert dy.dtype == db.dtype == jnp.dtype(dtype)
    np.testing.assert_array_equal(dy, jnp.ones_like(y))
    np.testing.assert_array_equal(db.astype(jnp.float32), jnp.full((3, 2), 4096.0))
