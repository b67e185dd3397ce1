import jax.numpy as jnp
import numpy as np

from fl_jax.core import tree
from fl_jax.federated.statistics import gram

X = np.random.default_rng(3).normal(size=(5, 9)).astype(np.float32)
UPDATES = {"a": jnp.asarray(X[:, :6].reshape(5, 2, 3)), "b": jnp.asarray(X[:, 6:])}


def test_products_distances_and_cosines_are_those_of_flat_vectors():
    products = gram.gram(UPDATES)
    np.testing.assert_allclose(products, X @ X.T, rtol=1e-5, atol=1e-6)
    away = ((X[:, None] - X[None]) ** 2).sum(-1)
    np.testing.assert_allclose(gram.distances(products), away, rtol=1e-4, atol=1e-5)
    norms = np.linalg.norm(X, axis=1)
    np.testing.assert_allclose(gram.cosines(products), X @ X.T / np.outer(norms, norms), rtol=1e-4)
    one = {"a": UPDATES["a"][0], "b": UPDATES["b"][0]}
    np.testing.assert_allclose(gram.to_each(one, UPDATES), away[0], rtol=1e-4, atol=1e-5)


def test_the_mean_distance_in_direction_is_of_those_who_arrived():
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    one, there = {"a": UPDATES["a"][0], "b": UPDATES["b"][0]}, jnp.array([0, 1, 1, 0, 1]) > 0
    expected = np.mean(1 - unit[[1, 2, 4]] @ unit[0])
    np.testing.assert_allclose(gram.apart(one, UPDATES, there), expected, rtol=1e-5)
    assert float(gram.apart(one, UPDATES, jnp.zeros(5, bool))) == 0.0


def test_a_centre_near_the_updates_keeps_small_distances():
    far = {k: v + 1e4 for k, v in UPDATES.items()}
    centre = {k: v[0] for k, v in far.items()}
    found = gram.distances(gram.gram(far, around=centre))
    away = ((X[:, None] - X[None]) ** 2).sum(-1)
    np.testing.assert_allclose(found, away, rtol=1e-2, atol=1e-2)
    assert not np.allclose(gram.distances(gram.gram(far)), away, rtol=1e-2, atol=1e-2)


def test_combinations_and_medians():
    out = gram.combine(jnp.array([1.0, 0, 0, 0, -2.0]), UPDATES)
    expected = tree.sub(
        {k: v[0] for k, v in UPDATES.items()}, {k: 2 * v[4] for k, v in UPDATES.items()}
    )
    np.testing.assert_allclose(out["a"], expected["a"], rtol=1e-5)
    values = jnp.array([5.0, 1.0, 9.0, 2.0])
    assert float(gram.median_of(values, jnp.ones(4, bool))) == 3.5
    assert float(gram.median_of(values, jnp.array([True, True, True, False]))) == 5.0
    assert float(gram.median_of(values, jnp.zeros(4, bool))) == 0.0


def test_the_mean_of_some_and_of_the_nearest_half():
    some = jnp.array([True, False, True, False, True])
    found = gram.mean_of(some, UPDATES)
    np.testing.assert_allclose(found["b"], X[[0, 2, 4], 6:].mean(0), rtol=1e-5)
    assert not np.any(gram.mean_of(jnp.zeros(5, bool), UPDATES)["a"])
    values = jnp.array([5.0, 1.0, 9.0, 2.0, 4.0])
    assert float(gram.nearest_half(values, jnp.ones(5, bool))) == 1.5
    assert float(gram.nearest_half(values, some)) == 4.0
    assert float(gram.nearest_half(values, jnp.zeros(5, bool))) == 0.0
