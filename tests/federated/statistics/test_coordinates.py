import jax
import jax.numpy as jnp
import numpy as np

from fl_jax.federated.statistics import coordinates


def test_different_coordinates_are_drawn_and_each_as_often():
    draw = jax.jit(jax.vmap(lambda key: coordinates.choose(key, 12, 3)))
    found = np.asarray(draw(jax.random.split(jax.random.key(0), 4000)))
    assert all(len(set(row)) == 3 for row in found)
    counts = np.bincount(found.ravel(), minlength=12)
    assert np.abs(counts - 1000).max() < 5 * (4000 * 0.25 * 0.75) ** 0.5
    np.testing.assert_array_equal(coordinates.choose(jax.random.key(0), 5, 9), np.arange(5))


def test_they_are_taken_across_leaves():
    x = np.random.default_rng(0).normal(size=(3, 11)).astype(np.float32)
    updates = {"a": jnp.asarray(x[:, :6].reshape(3, 2, 3)), "b": jnp.asarray(x[:, 6:])}
    index = jnp.array([10, 0, 6, 5])
    np.testing.assert_array_equal(coordinates.take(updates, index), x[:, [10, 0, 6, 5]])
