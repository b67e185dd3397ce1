import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors
from privacy.membership import quantile


def test_the_pinball_loss_is_least_at_the_quantile():
    y = jnp.asarray(np.random.default_rng(0).normal(size=4001), jnp.float32)
    for alpha in (0.1, 0.8):
        loss = lambda q, a=alpha: float(jnp.mean(quantile.pinball(y - q, jnp.float32(a))))
        q = float(np.quantile(y, alpha))
        assert loss(q) < min(loss(q - 0.1), loss(q + 0.1))


def test_quantiles_follow_the_features(key):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(4000, 2)).astype(np.float32)
    scores = 5 + 2 * x[:, 0] + rng.normal(size=4000)
    config = quantile.Config(alphas=(0.5, 0.9), hidden=16, rate=1e-2, steps=600)
    model = quantile.fit(x[:2000], scores[:2000], key, config)
    found = quantile.predict(model, x[2000:])
    assert (np.diff(found, axis=1) >= 0).all()
    below = (scores[2000:, None] <= found).mean(0)
    np.testing.assert_allclose(below, [0.5, 0.9], atol=0.05)
    assert np.corrcoef(found[:, 0], x[2000:, 0])[0, 1] > 0.98
    attacked = quantile.attack(model, x[2000:], scores[2000:])
    np.testing.assert_allclose(attacked, scores[2000:] - found[:, 1])


def test_a_quantile_out_of_range_is_refused(key):
    with pytest.raises(errors.ConfigError, match="between 0 and 1"):
        quantile.fit(np.zeros((2, 1)), np.zeros(2), key, quantile.Config(alphas=(1.0,)))


def test_scores_that_are_nan_are_refused(key):
    with pytest.raises(errors.DataError, match="not finite"):
        quantile.fit(np.zeros((2, 1)), np.array([0.0, np.nan]), key)


def test_every_record_needs_a_score():
    x = np.zeros((9, 2))
    with pytest.raises(errors.DataError, match=r"9 records and scores \(8,\)"):
        quantile.fit(x, np.ones(8), jax.random.key(0))
    model = quantile.fit(x, np.ones(9), jax.random.key(0), quantile.Config(steps=1))
    with pytest.raises(errors.DataError, match=r"9 records and scores \(1,\)"):
        quantile.attack(model, x, np.ones(1))


def test_what_the_regressor_cannot_take_is_refused():
    config = quantile.Config(steps=2)
    model = quantile.fit(np.zeros((3, 2)), np.arange(3.0), jax.random.key(0), config)
    with pytest.raises(errors.DataError, match="2 finite features"):
        quantile.attack(model, np.zeros((3, 4)), np.arange(3.0))
    with pytest.raises(errors.DataError, match="not finite"):
        quantile.attack(model, np.full((3, 2), np.nan), np.arange(3.0))
    with pytest.raises(errors.ConfigError, match="3 quantiles"):
        quantile.attack(model, np.zeros((3, 2)), np.arange(3.0), which=7)
    with pytest.raises(errors.DataError, match="there are none"):
        quantile.fit(np.zeros((0, 2)), np.zeros(0), jax.random.key(0), config)
    with pytest.raises(errors.ConfigError, match="batch"):
        quantile.fit(np.zeros((3, 2)), np.arange(3.0), jax.random.key(0), quantile.Config(batch=0))
    with pytest.raises(errors.DataError, match="diverged"):
        loud = quantile.Config(steps=20, rate=1e38)
        quantile.fit(np.ones((3, 2)), np.arange(3.0), jax.random.key(0), loud)
