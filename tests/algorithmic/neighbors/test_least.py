import jax.numpy as jnp
import numpy as np

from algorithmic.neighbors import least


def test_the_least_of_a_row_and_a_bound_of_the_rest():
    values = np.random.default_rng(0).random((50, 100)).astype(np.float32) ** 4
    values[0, :5] = np.inf
    places, floor, rest = least.least(least.keys(jnp.asarray(values)), 7)
    order = np.argsort(values, axis=1)
    # The last 7 bits of 23 are gone: a few neighbours of almost the same value may change places.
    assert (places == order[:, :7]).mean() > 0.99
    taken = np.take_along_axis(values, places, axis=1)
    assert (floor <= taken).all() and (taken <= floor * (1 + 2.0**-16)).all()
    left = values.copy()
    np.put_along_axis(left, places, np.inf, axis=1)
    assert (rest <= left.min(axis=1)).all() and (rest >= floor[:, -1]).all()


def test_nothing_is_left_where_all_are_taken():
    places, floor, rest = least.least(least.keys(jnp.array([[3.0, 1, jnp.inf, 2]])), 4)
    np.testing.assert_array_equal(places, [[1, 3, 0, 2]])
    np.testing.assert_array_equal(floor, [[1, 2, 3, np.inf]])
    assert np.isinf(rest).all()


def test_some_rows_and_numpys_keys_give_the_same():
    values = np.random.default_rng(1).random((20, 64), np.float32)
    keys = least.keys(jnp.asarray(values))
    np.testing.assert_array_equal(least.keys(values), keys)
    np.testing.assert_array_equal(least.keys(jnp.asarray(values.T), axis=0).T, keys)
    rows = np.array([3, 17])
    some = least.least(keys, 9, rows)
    for found, wanted in zip(some, least.least(np.array(keys), 9), strict=True):
        np.testing.assert_array_equal(found, wanted[rows])
