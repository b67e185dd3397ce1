import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.cluster import HDBSCAN

from fl_jax.federated.statistics import hdbscan


def distances(seed, m):
    draw = np.random.default_rng(seed)
    middle = draw.normal(size=(1 + seed % 4, 2))
    x = middle[draw.integers(0, len(middle), m)] + 0.25 * draw.normal(size=(m, 2))
    return np.linalg.norm(x[:, None] - x[None], axis=-1)


def pairs(labels):
    alone = np.eye(len(labels), dtype=bool)
    return ((labels[:, None] == labels[None]) & (labels >= 0)[:, None]) | alone


@pytest.mark.parametrize("smallest", [2, 4])
def test_clusters_are_those_of_scikit_learn(smallest):
    find = jax.jit(lambda d, there: hdbscan.together(d, there, smallest))
    sizes = set()
    for seed in range(16):
        apart, there = distances(seed, 18), np.random.default_rng(seed).random(18) < 0.9
        judge = HDBSCAN(
            min_cluster_size=smallest, min_samples=1, metric="precomputed", copy=True
        ).fit(apart[np.ix_(there, there)])
        found = np.asarray(find(jnp.asarray(apart, jnp.float32), jnp.asarray(there)))
        np.testing.assert_array_equal(found[np.ix_(there, there)], pairs(judge.labels_))
        np.testing.assert_array_equal(found[~there], np.eye(18, dtype=bool)[~there])
        sizes |= set(np.bincount(judge.labels_ + 1)[1:])
    assert len(sizes) > 4


def test_ties_meet_at_once():
    """Two groups of equal points, one point as far from both as they are from each other."""
    group = np.array([0, 1, 0, 2, 1, 0, 1])
    apart = (group[:, None] != group[None]).astype(np.float32)
    expected = pairs(np.where(group == 2, -1, group))
    for turn in range(7):
        order = np.roll(np.arange(7), turn)
        found = hdbscan.together(jnp.asarray(apart[np.ix_(order, order)]), jnp.ones(7, bool), 2)
        np.testing.assert_array_equal(found, expected[np.ix_(order, order)])


def test_where_nothing_parts_everyone_is_alone():
    for apart in (jnp.ones((5, 5)) - jnp.eye(5), jnp.zeros((5, 5))):
        found = hdbscan.together(apart, jnp.ones(5, bool), 2)
        np.testing.assert_array_equal(found, np.eye(5, dtype=bool))
    nobody = hdbscan.together(jnp.ones((5, 5)), jnp.zeros(5, bool), 2)
    np.testing.assert_array_equal(nobody, np.eye(5, dtype=bool))
