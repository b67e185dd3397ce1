import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.federated import detection
from fl_jax.federated.aggregators.base import Stacked

X = np.random.default_rng(0).normal(size=(8, 6)).astype(np.float32) + 1
X[2], X[5] = X[2] * 9, -X[5] - 4
SEEN = Stacked({"body": jnp.asarray(X[:, :4]), "head": jnp.asarray(X[:, 4:])}, jnp.ones(8))


def test_scores_are_their_formulas():
    found = jax.jit(detection.inspect(lambda update: update["head"]))(SEEN)
    np.testing.assert_allclose(found["norm"], np.linalg.norm(X, axis=1), rtol=1e-5)
    for i in range(8):
        rest = np.delete(X, i, axis=0)
        mean = rest.sum(0)
        cosine = X[i] @ mean / np.linalg.norm(X[i]) / np.linalg.norm(mean)
        np.testing.assert_allclose(found["cosine"][i], 1 - cosine, rtol=1e-4, atol=1e-5)
        away = np.linalg.norm(rest - X[i], axis=1).mean()
        np.testing.assert_allclose(found["distance"][i], away, rtol=1e-4)
    order = np.argsort(found["distance"])
    np.testing.assert_allclose(found["distance rank"][order], np.arange(1, 9) / 8, rtol=1e-6)


def test_a_rank_counts_only_those_who_arrived():
    found = detection.distance_rank(SEEN._replace(weights=jnp.ones(8).at[2].set(0.0)))
    assert sorted(np.asarray(found)[np.arange(8) != 2]) == pytest.approx(np.arange(1, 8) / 7)


def test_the_smaller_cluster_is_further_from_the_larger_ones_centre():
    draw = np.random.default_rng(1).normal(size=(9, 5)).astype(np.float32)
    draw[:3] += 8
    found = detection.clusters(Stacked({"w": jnp.asarray(draw)}, jnp.ones(9)))
    centre = draw[3:].mean(0)
    np.testing.assert_allclose(found, np.linalg.norm(draw - centre, axis=1), rtol=1e-3)
    assert found[:3].min() > found[3:].max()
