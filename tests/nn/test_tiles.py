"""bfloat16 products that a CPU computes in its matrix tiles."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.nn import dense, tiles

SHAPES = [(64, 96, 32), (33, 7, 5), (32, 8, 64)]


def matrices(key, *shapes):
    keys = jax.random.split(key, len(shapes))
    return [jax.random.normal(k, s).astype(jnp.bfloat16) for k, s in zip(keys, shapes, strict=True)]


def exact(subscripts, *operands):
    return np.einsum(subscripts, *(np.asarray(a, np.float64) for a in operands))


def close(found, wanted):
    """Rounded once: half a unit in the last of eight places."""
    assert found.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.asarray(found, np.float64), wanted, rtol=2**-8, atol=1e-4)


@pytest.mark.parametrize(("n", "k", "m"), SHAPES)
def test_products_are_rounded_once(n, k, m, key):
    a, b, c, d = matrices(key, (n, k), (k, m), (m, k), (n, m))

    @jax.jit
    def run():
        turned = tiles.product(a, c, turned=True)
        return tiles.product(a, b), turned, tiles.product_over_rows(a, d)

    plain, turned, over_rows = run()
    close(plain, exact("nk,km->nm", a, b))
    close(turned, exact("nk,mk->nm", a, c))
    close(over_rows, exact("nk,nm->km", a, d))


@pytest.mark.parametrize(("n", "k", "m"), SHAPES)
def test_turn_is_the_transpose_bit_for_bit(n, k, m, key):
    (a,) = matrices(key, (n, k))
    found = jax.jit(tiles.turn)(a)
    np.testing.assert_array_equal(np.asarray(found).view("u2"), np.asarray(a).T.view("u2"))


def test_results_may_be_turned_around(key):
    """A float32 product of bfloat16 that is transposed later compiles and does not run."""
    a, b = matrices(key, (64, 32), (32, 96))
    found = jax.jit(lambda: tiles.product(a, b).T.astype(jnp.float32) * 2)()
    np.testing.assert_allclose(found, 2 * exact("nk,km->mn", a, b), rtol=2**-8, atol=1e-4)


@pytest.mark.parametrize("over", ["both", "inputs", "kernels"])
def test_clients_side_by_side(over, key):
    """Their losses and derivatives under vmap are each one's own."""
    x, kernel = matrices(key, (3, 64, 32), (3, 32, 96))
    axes = {"both": (0, 0), "inputs": (0, None), "kernels": (None, 0)}[over]
    x, kernel = (a if axis == 0 else a[0] for a, axis in zip((x, kernel), axes, strict=True))

    def loss(x, kernel):
        return jnp.sum(jnp.square(dense.dense(x, kernel).astype(jnp.float32)))

    both = jax.value_and_grad(loss, (0, 1))
    found = jax.jit(jax.vmap(both, axes))(x, kernel)
    for i in range(3):
        own = [a[i] if axis == 0 else a for a, axis in zip((x, kernel), axes, strict=True)]
        wanted = jax.jit(both)(*own)
        for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
            one, other = (np.asarray(a, np.float32) for a in (one[i], other))
            np.testing.assert_allclose(one, other, rtol=2**-7, atol=2**-7 * np.abs(other).max())


def in_tiles(function, *shapes) -> bool:
    """Whether every product of the compiled program reads bfloat16."""
    arrays = [jax.ShapeDtypeStruct(shape, jnp.bfloat16) for shape in shapes]
    program = jax.jit(function).lower(*arrays).compile().as_text()
    defined = {line.split(" = ")[0].split("%")[-1]: line for line in program.splitlines()}
    products = re.findall(r" dot\(%(\S+), %(\S+)\)", program)
    assert products
    return all(" = bf16[" in defined[name] for pair in products for name in pair)


def test_the_compiler_multiplies_bfloat16():
    """All three products of a layer, and not if the derivative is the compiler's."""
    x, kernel = (256, 64), (64, 128)
    if not in_tiles(lambda a, b: tiles.product(a, b), x, kernel):
        pytest.skip("this CPU has no tiles that XLA knows of: all products are float32's")
    both = lambda f: lambda x, k: jax.grad(lambda x, k: jnp.sum(f(x, k)), (0, 1))(x, k)
    assert in_tiles(lambda x, k: dense.dense(x, k), x, kernel)
    assert in_tiles(both(lambda x, k: jnp.tanh(dense.dense(x, k))), x, kernel)
    assert not in_tiles(both(lambda x, k: jnp.tanh(x @ k)), x, kernel)
