import jax
import jax.numpy as jnp
import numpy as np
from sklearn.cluster import KMeans
from sklearn.metrics import calinski_harabasz_score

from fl_jax.federated.statistics import k_means
from tests.federated.aggregators import reference

MOST = 5
groups = jax.jit(lambda x, there, k: k_means.groups(x, there, k, MOST))
number = jax.jit(lambda key, x, there: k_means.number_of_groups(key, x, there, MOST, 5))


def blobs(seed, count, spread=0.05, m=20):
    draw = np.random.default_rng(seed)
    middle = draw.uniform(size=(count, 2)) * 2
    return middle[np.arange(m) % count] + spread * draw.normal(size=(m, 2))


def test_clear_groups_are_those_of_scikit_learn():
    for seed, k in ((0, 2), (2, 3), (5, 4)):
        x, there = blobs(seed, k), np.arange(20) != 7
        labels, within = groups(jnp.asarray(x, jnp.float32), jnp.asarray(there), k)
        judge = KMeans(n_clusters=k, n_init=20, random_state=0).fit(x[there])
        np.testing.assert_allclose(within, judge.inertia_, rtol=1e-3)
        own = np.asarray(labels)[there]
        np.testing.assert_array_equal(
            own[:, None] == own[None], judge.labels_[:, None] == judge.labels_[None]
        )


def test_steps_are_those_of_the_slow_twin():
    for seed in range(6):
        x, k = np.random.default_rng(seed).normal(size=(13, 2)), 2 + seed % 4
        labels, within = groups(jnp.asarray(x, jnp.float32), jnp.ones(13, bool), k)
        expected, squares = reference.k_means(x.astype(np.float32), k)
        np.testing.assert_array_equal(labels, expected)
        np.testing.assert_allclose(within, squares, rtol=1e-4)


def test_the_gap_statistic_counts_groups():
    for seed, k in ((1, 1), (0, 2), (2, 3), (5, 4)):
        x, key = jnp.asarray(blobs(seed, k), jnp.float32), jax.random.key(seed)
        found = int(number(key, x, jnp.ones(20, bool)))
        uniform = np.asarray(jax.random.uniform(key, (5, 20, 2)))
        assert found == reference.number_of_groups(np.asarray(x), uniform, MOST) == k
    assert int(number(jax.random.key(0), jnp.ones((20, 2)), jnp.ones(20, bool))) == 1


def test_inner_products_are_enough_for_groups_and_their_score():
    find = jax.jit(k_means.of_products)
    for seed in range(6):
        x, there = blobs(seed, 3, spread=0.6), np.arange(20) != 7
        starts = np.array([0, 4, 11, 17])
        products = jnp.asarray(x @ x.T, jnp.float32)
        labels, score = find(products, jnp.asarray(there), jnp.asarray(starts))
        judge = KMeans(n_clusters=4, init=x[starts], n_init=1, tol=0).fit(x[there])
        np.testing.assert_array_equal(np.asarray(labels)[there], judge.labels_)
        np.testing.assert_allclose(score, calinski_harabasz_score(x[there], judge.labels_), 1e-3)


def test_equal_points_score_one_and_share_a_group():
    labels, score = k_means.of_products(jnp.ones((5, 5)), jnp.ones(5, bool), jnp.arange(2))
    np.testing.assert_array_equal(labels, 0)
    assert float(score) == 1.0
