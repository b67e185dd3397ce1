import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.nn import blocks, conv, pool

DRAW = np.random.default_rng(0)


@pytest.mark.parametrize(("size", "k", "side", "i", "o"), [(4, 5, 12, 3, 2), (2, 3, 8, 2, 3)])
def test_it_is_a_convolution_and_a_pooling(size, k, side, i, o):
    x = jnp.asarray(DRAW.normal(size=(2, side, side, i)), jnp.float32)
    kernel = jnp.asarray(DRAW.normal(size=(k, k, i, o)), jnp.float32)

    def ours(x, kernel):
        return blocks.conv_pool(blocks.cut(x, size), kernel, size)

    def twin(x, kernel):
        return blocks.cut(pool.max_pool(conv.conv(x, kernel, method="patches"), 2), size // 2)

    side = (side - k + 1) // size
    dy = jnp.asarray(DRAW.normal(size=(2, side, side, size * size // 4 * o)), jnp.float32)

    @jax.jit
    def both(x, kernel, dy):
        pair = [jax.vjp(f, x, kernel) for f in (ours, twin)]
        return [(y, *back(dy)) for y, back in pair]

    for found, wanted in zip(*both(x, kernel, dy), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_of_equals_the_first_takes_the_derivative():
    kernel = jnp.zeros((3, 3, 1, 1)).at[0, 0, 0, 0].set(1.0)
    x = jnp.ones((1, 4, 4, 1))
    total = lambda x: jnp.sum(blocks.conv_pool(blocks.cut(x, 2), kernel, 2))
    dx = jax.jit(jax.grad(total))(x)
    assert float(dx[0, 0, 0, 0]) == 1.0
    assert float(jnp.sum(dx)) == 1.0


def test_what_does_not_fit_is_one_sentence():
    with pytest.raises(ValueError, match="blocks of 4 x 4 pixels do not cover images of 6 x 8"):
        blocks.cut(jnp.ones((1, 6, 8, 1)), 4)
    with pytest.raises(ValueError, match="do not fit a kernel of 4 x 4"):
        blocks.conv_pool(jnp.ones((1, 4, 4, 4)), jnp.ones((4, 4, 1, 1)), 2)
