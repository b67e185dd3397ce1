import jax
import jax.numpy as jnp
import numpy as np

from fl_jax.federated.statistics import mean_shift
from tests.federated.aggregators import reference


def test_the_largest_cluster_is_that_of_scikit_learn():
    find = jax.jit(
        lambda x, there: mean_shift.largest(x, there, mean_shift.bandwidth(x, there, 0.3))
    )
    sizes = set()
    for seed in range(8):
        draw = np.random.default_rng(seed)
        middle = draw.normal(size=(3, 3))
        x = middle[draw.integers(0, 3, 14)] + 0.4 * draw.normal(size=(14, 3))
        there = np.ones(14, bool) if seed % 2 else draw.random(14) < 0.8
        found = np.asarray(find(jnp.asarray(x, jnp.float32), jnp.asarray(there)))
        expected = np.zeros(14, bool)
        expected[there] = reference.largest_cluster(x[there], 0.3)
        np.testing.assert_array_equal(found, expected)
        sizes.add(found.sum())
    assert len(sizes) > 2


def test_equal_points_are_one_cluster():
    x, there = jnp.full((5, 2), 0.3), jnp.array([True, True, False, True, True])
    width = mean_shift.bandwidth(x, there, 0.5)
    assert float(width) == 0
    np.testing.assert_array_equal(mean_shift.largest(x, there, width), there)


def test_nobody_is_in_no_cluster():
    nobody = jnp.zeros(5, bool)
    width = mean_shift.bandwidth(jnp.zeros((5, 2)), nobody, 0.5)
    assert not mean_shift.largest(jnp.zeros((5, 2)), nobody, width).any()
