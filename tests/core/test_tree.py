import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import tree

X = {"a": jnp.arange(6.0).reshape(2, 3), "b": jnp.array([-2.0, 4.0])}
Y = {"a": jnp.ones((2, 3)), "b": jnp.array([0.5, 0.25])}


def flat(x):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(x)])


def test_arithmetic_is_that_of_flat_vectors():
    np.testing.assert_array_equal(flat(tree.add(X, Y)), flat(X) + flat(Y))
    np.testing.assert_array_equal(flat(tree.sub(X, Y)), flat(X) - flat(Y))
    np.testing.assert_array_equal(flat(tree.scale(2.5, X)), 2.5 * flat(X))
    np.testing.assert_allclose(tree.dot(X, Y), flat(X) @ flat(Y))
    np.testing.assert_allclose(tree.norm(X), np.linalg.norm(flat(X)), rtol=1e-6)
    cosine = flat(X) @ flat(Y) / np.linalg.norm(flat(X)) / np.linalg.norm(flat(Y))
    np.testing.assert_allclose(tree.cosine(X, Y), cosine, rtol=1e-6)
    assert tree.size(X) == 8
    assert tree.nbytes(X) == 32


def test_a_narrow_leaf_is_scaled_by_the_whole_factor():
    ones = jnp.ones(3, jnp.bfloat16)
    (scaled,) = tree.scale(601.0, (tree.scale(1 / 601, ones),))
    assert scaled.dtype == ones.dtype
    wanted = jnp.bfloat16(601 * np.float32(jnp.bfloat16(1 / 601)))
    np.testing.assert_array_equal(scaled, wanted)


def test_norm_has_a_derivative_at_zero():
    zero = tree.zeros_like(X)
    assert tree.all_finite(jax.grad(tree.norm)(zero))
    np.testing.assert_array_equal(flat(jax.grad(tree.norm)(zero)), 0)
    np.testing.assert_allclose(
        flat(jax.grad(tree.norm)(X)), flat(X) / np.linalg.norm(flat(X)), rtol=1e-6
    )


def test_the_norm_of_nan_is_not_zero():
    assert np.isnan(tree.norm({"a": jnp.array([1.0, jnp.nan]), "b": jnp.ones(2)}))


def test_finiteness_sees_every_leaf():
    assert tree.all_finite(X)
    for bad in (jnp.nan, jnp.inf):
        assert not tree.all_finite({**X, "b": jnp.array([1.0, bad])})
    assert tree.all_finite({"count": jnp.arange(3)})


def test_where_leaves_nothing_of_the_other_side():
    broken = jax.tree.map(lambda a: a * jnp.nan, X)
    np.testing.assert_array_equal(flat(tree.where(jnp.bool_(True), X, broken)), flat(X))


def test_leaves_are_named_by_path():
    assert list(tree.named_leaves({"p": {"k": jnp.ones(2), "b": jnp.ones(1)}})) == ["p/b", "p/k"]


def test_narrow_noise_has_the_tails_of_a_normal(key):
    noise = tree.normal(key, {"w": jnp.zeros(200_000, jnp.bfloat16)}, 2.0)["w"]
    assert noise.dtype == jnp.bfloat16
    wide = np.asarray(noise, np.float32)
    assert np.abs(wide).max() > 2.0 * 3.5  # bfloat16's own ends at 2.9 deviations
    assert wide.std() == pytest.approx(2.0, rel=0.01)


def test_sums_are_wide_and_cast_back():
    x = {"a": jnp.ones(2, jnp.float16), "b": jnp.ones(2), "n": jnp.ones(2, jnp.int32)}
    wide = tree.wide(x)
    assert [str(leaf.dtype) for leaf in wide.values()] == ["float32", "float32", "int32"]
    assert tree.cast(wide, x)["a"].dtype == jnp.float16


def test_an_array_that_stands_twice_is_copied_the_second_time():
    one, other = jnp.ones(2), jnp.zeros(2)
    x = tree.apart({"a": one, "b": one, "c": other, "d": 3, "e": 3})
    assert x["a"] is one and x["c"] is other and x["d"] is x["e"]
    assert x["b"] is not one and x["b"].tolist() == [1, 1]


def test_clipping_cuts_to_the_bound_and_no_narrow_leaf_is_longer():
    np.testing.assert_allclose(tree.norm(tree.clip(X, 2.0)), 2.0, rtol=1e-6)
    np.testing.assert_array_equal(flat(tree.clip(X, 100.0)), flat(X))
    np.testing.assert_array_equal(flat(tree.clip(tree.zeros_like(X), 1.0)), 0)
    for dtype, least in ((jnp.bfloat16, 0.98), (jnp.float16, 0.998)):
        for size in (7, 13, 100, 1000):
            cut = tree.clip({"w": jnp.full(size, 3.0, dtype), "b": jnp.zeros(2)}, 1.0)
            assert cut["w"].dtype == dtype
            assert least < np.linalg.norm(np.asarray(cut["w"], np.float64)) <= 1
