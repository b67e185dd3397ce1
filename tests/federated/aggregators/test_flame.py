import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.federated.aggregators import flame
from fl_jax.federated.aggregators.base import Stacked


def distances(seed, m):
    draw = np.random.default_rng(seed)
    centre = draw.normal(size=(2, 6))
    which = draw.integers(0, 2, m) if seed % 2 else np.arange(m) >= m * 0.7
    x = centre[which.astype(int)] + 0.5 * draw.normal(size=(m, 6))
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    apart = np.clip(1 - unit @ unit.T, 0, None)
    np.fill_diagonal(apart, 0)
    return (apart + apart.T) / 2


def test_the_majority_is_hdbscans_cluster():
    """scikit-learn's HDBSCAN, one cluster allowed, none below half of the points."""
    from sklearn.cluster import HDBSCAN

    for seed in range(12):
        m = (9, 16)[seed % 2]  # two shapes, so two programs
        apart = distances(seed, m)
        judge = HDBSCAN(
            min_cluster_size=m // 2 + 1,
            min_samples=1,
            allow_single_cluster=True,
            metric="precomputed",
            copy=True,
        ).fit(apart)
        found = flame.majority(jnp.asarray(apart, jnp.float32), jnp.ones(m, bool))
        np.testing.assert_array_equal(np.asarray(found), judge.labels_ >= 0)


def test_noise_follows_the_median_norm():
    x = np.random.default_rng(0).normal(size=(5, 4000)).astype(np.float32)
    seen = Stacked({"w": jnp.asarray(x)}, jnp.ones(5))
    run = lambda rule: rule.update(seen, rule.begin((), (), jax.random.key(3)))[0]["w"]
    away = run(flame.flame(noise=0.01)) - run(flame.flame(noise=0.0))
    expected = 0.01 * np.median(np.linalg.norm(x, axis=1))
    assert float(jnp.std(away)) == pytest.approx(expected, rel=0.05)


def test_negative_noise_is_refused():
    with pytest.raises(errors.ConfigError, match="must be 0 or more, got -1"):
        flame.flame(noise=-1.0)
