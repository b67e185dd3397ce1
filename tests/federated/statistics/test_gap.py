import jax
import jax.numpy as jnp
import numpy as np

from fl_jax.federated.statistics import gap
from tests.federated.aggregators import reference

means = jax.jit(gap.two_means)
split = jax.jit(lambda key, x, there: gap.split(key, x, there, 20))


def test_two_means_are_the_best_of_all_partitions():
    for seed in range(6):
        draw = np.random.default_rng(seed)
        x, there = draw.random(9), draw.random(9) < 0.9
        upper, one, two = means(jnp.asarray(x, jnp.float32), jnp.asarray(there))
        expected, best = reference.two_means(x[there])
        np.testing.assert_array_equal(np.asarray(upper)[there], expected)
        assert not np.asarray(upper)[~there].any()
        np.testing.assert_allclose(one, np.var(x[there]) * there.sum(), rtol=1e-4)
        np.testing.assert_allclose(two, best, rtol=1e-4)


def test_the_choice_is_that_of_the_gap_statistic():
    key, found = jax.random.key(4), []
    uniform = [np.asarray(jax.random.uniform(k, (30,))) for k in jax.random.split(key, 20)]
    for shift in np.linspace(0, 2, 9):
        x = np.random.default_rng(1).normal(size=30) * 0.3
        x[:6] += shift
        several, _ = split(key, jnp.asarray(x, jnp.float32), jnp.ones(30, bool))
        assert bool(several) == reference.more_than_one(x, uniform)
        found.append(bool(several))
    assert not found[0]
    assert found[-1]


def test_far_groups_are_two_and_equal_numbers_one():
    x, there = jnp.array([1.0, 1.1, 5.0, 0.9, 1.0, 5.2, 77.0]), jnp.arange(7) < 6
    several, upper = split(jax.random.key(0), x, there)
    assert bool(several)
    np.testing.assert_array_equal(np.flatnonzero(upper), [2, 5])
    for values, counted in ((jnp.ones(7), there), (x, jnp.zeros(7, bool)), (x, jnp.arange(7) < 1)):
        several, _ = split(jax.random.key(0), values, counted)
        assert not bool(several)
