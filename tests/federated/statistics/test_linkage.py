import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.federated.statistics import linkage
from tests.federated.aggregators import reference


def test_two_clusters_are_those_of_scikit_learn():
    find, sizes = jax.jit(linkage.larger), set()
    for seed in range(10):
        draw = np.random.default_rng(seed)
        x = draw.normal(size=(2, 3))[draw.integers(0, 2, 14)] + 0.7 * draw.normal(size=(14, 3))
        there = np.ones(14, bool) if seed % 2 else draw.random(14) < 0.8
        apart = np.linalg.norm(x[:, None] - x[None], axis=-1)
        found = np.asarray(find(jnp.asarray(apart, jnp.float32), jnp.asarray(there)))
        members = reference.larger_of_two(apart[np.ix_(there, there)])
        expected = np.flatnonzero(there)[members]
        np.testing.assert_array_equal(np.flatnonzero(found), expected)
        sizes.add(len(expected) - there.sum() // 2)
    assert len(sizes) > 3


def test_of_equal_halves_the_closer_one_is_taken():
    x = jnp.array([0.0, 3.0, 10.0, 11.0])
    apart = jnp.abs(x[:, None] - x[None, :])
    np.testing.assert_array_equal(linkage.larger(apart, jnp.ones(4, bool)), [0, 0, 1, 1])


@pytest.mark.parametrize("right", [(4.3, 4.5), (3.75, 4.9)])
def test_the_distance_of_clusters_is_the_mean_over_pairs(right):
    """Complete linkage would take 2.4 to the first pair, single linkage to the second."""
    x = jnp.array([0.0, 1.0, 2.4, *right])
    same = linkage.two(jnp.abs(x[:, None] - x[None, :]), jnp.ones(5, bool))
    np.testing.assert_array_equal(same[2], [1, 1, 1, 0, 0])


def test_few_points_are_clusters_of_their_own():
    apart = jnp.abs(jnp.arange(4.0)[:, None] - jnp.arange(4.0)[None, :])
    pair = jnp.array([True, False, False, True])
    np.testing.assert_array_equal(linkage.two(apart, pair), np.eye(4, dtype=bool))
    assert linkage.larger(apart, pair).sum() == 1
    assert not linkage.larger(apart, jnp.zeros(4, bool)).any()
