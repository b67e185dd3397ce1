import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.federated.aggregators import multi_metrics
from fl_jax.federated.aggregators.base import Stacked
from tests.federated.aggregators import reference

DRAW = np.random.default_rng(8)
X = (DRAW.normal(size=(10, 50)) * (1 + 0.3 * DRAW.random((10, 1)))).astype(np.float32)
MODEL = DRAW.normal(size=50).astype(np.float32)


def run(x, arrived=None, **settings):
    there = np.ones(len(x), bool) if arrived is None else arrived
    rule, model = multi_metrics.multi_metrics(**settings), {"w": jnp.asarray(MODEL)}
    state = rule.begin(model, rule.init(model), jax.random.key(0))
    seen = Stacked({"w": jnp.where(there[:, None], x, 0)}, jnp.asarray(there, jnp.float32))
    return np.asarray(jax.jit(rule.update)(seen, state)[0]["w"])


@pytest.mark.parametrize("share", [0.1, 0.3, 0.7, 1.0])
def test_the_share_of_the_lowest_scores_is_kept(share):
    expected = reference.multi_metrics(X, MODEL, share)
    np.testing.assert_allclose(run(X, share=share), expected, rtol=1e-5, atol=1e-6)


def test_absent_updates_change_nothing():
    there = np.ones(10, bool)
    there[[2, 7, 8]] = False
    expected = reference.multi_metrics(X[there], MODEL, 0.5)
    np.testing.assert_allclose(run(X, there, share=0.5), expected, rtol=1e-5, atol=1e-6)


def test_a_long_one_and_a_turned_one_are_left_out():
    x = (0.02 * (X + 4 * MODEL)).astype(np.float32)
    x[3] *= 6
    x[5] = X[5] * np.linalg.norm(x[0]) / np.linalg.norm(X[5])  # as long, across the model
    kept = np.argsort(reference.multi_metrics_scores(x.astype(float), MODEL.astype(float)))[:5]
    assert not {3, 5} & set(kept)
    np.testing.assert_allclose(run(x, share=0.5), x[kept].mean(0), rtol=1e-4, atol=1e-6)


def test_small_angles_keep_their_digits():
    for scale in (1.0, 1e-3):
        x = (scale * X[0]).astype(np.float32)
        w, local = MODEL.astype(float), MODEL.astype(float) + x.astype(float)
        turned = 1 - local @ w / np.linalg.norm(local) / np.linalg.norm(w)
        expected = [np.abs(x).sum(), np.linalg.norm(x), turned]
        np.testing.assert_allclose(multi_metrics.measures(x, MODEL), expected, rtol=1e-4)


def test_scores_are_the_quadratic_form_of_the_inverse_covariance():
    there = jnp.ones(10, bool)
    rows = jax.vmap(multi_metrics.measures, (0, None))(X, MODEL)
    away = multi_metrics.deviations(rows, rows, there)
    expected = reference.multi_metrics_scores(X.astype(float), MODEL.astype(float))
    np.testing.assert_allclose(multi_metrics.whitened(away, away, there), expected, rtol=1e-3)


def test_bad_settings_are_refused():
    with pytest.raises(errors.ConfigError, match=r"keeps lies in \(0, 1\], got 0"):
        multi_metrics.multi_metrics(share=0)
