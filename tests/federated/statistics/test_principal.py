import jax
import jax.numpy as jnp
import numpy as np

from fl_jax.federated.statistics import gram, principal

X = np.random.default_rng(0).normal(size=(7, 20)).astype(np.float32) + np.float32(2)


def test_places_are_those_of_a_singular_value_decomposition():
    there = np.array([1, 1, 0, 1, 1, 1, 1], bool)
    products = gram.gram({"w": jnp.asarray(X)})
    found = np.asarray(principal.places(principal.centred(products, jnp.asarray(there)), 2))
    away = X[there] - X[there].mean(0)
    expected = away @ np.linalg.svd(away, full_matrices=False)[2][:2].T
    np.testing.assert_allclose(found[~there], 0, atol=1e-5)
    largest = np.abs(expected).argmax(0)
    expected *= np.sign(expected[largest, [0, 1]])
    np.testing.assert_allclose(found[there], expected, rtol=1e-3, atol=1e-4)


def test_a_distance_is_along_the_directions_and_has_a_derivative():
    there = jnp.array([True, True, False, True, True, True])
    own, others = {"w": jnp.asarray(X[0])}, {"w": jnp.asarray(X[1:])}
    value, slope = jax.value_and_grad(lambda u: principal.distance(u, others, there, 2))(own)
    every = np.delete(X, 3, axis=0)
    away = every - every.mean(0)
    directions = np.linalg.svd(away, full_matrices=False)[2][:2]
    along = directions @ away[0]
    np.testing.assert_allclose(value, along @ along, rtol=1e-3)
    expected = 2 * (1 - 1 / 6) * along @ directions  # with the directions held
    np.testing.assert_allclose(slope["w"], expected, rtol=1e-2, atol=1e-3)
