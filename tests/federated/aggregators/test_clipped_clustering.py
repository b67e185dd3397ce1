import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.federated.aggregators import clipped_clustering
from fl_jax.federated.aggregators.base import Stacked
from tests.federated.aggregators import reference

X = np.random.default_rng(4).normal(size=(9, 40)).astype(np.float32) + np.float32(0.6)


def run(rule, x, state, arrived=None):
    there = np.ones(len(x), np.float32) if arrived is None else arrived.astype(np.float32)
    seen = Stacked({"w": jnp.where(there[:, None] > 0, x, 0)}, jnp.asarray(there))
    out, state = jax.jit(rule.update)(seen, state)
    return np.asarray(out["w"]), state


def test_what_points_elsewhere_is_left_out():
    planted = X.copy()
    planted[[1, 6]] = -3 * X[[1, 6]]
    out, _ = run(rule := clipped_clustering.clipped_clustering(), planted, rule.init(()))
    np.testing.assert_allclose(out, reference.clipped_clustering(planted), rtol=1e-5, atol=1e-6)
    kept = reference.clipped_to(planted, np.median(np.linalg.norm(planted, axis=1)))
    np.testing.assert_allclose(out, np.delete(kept, [1, 6], axis=0).mean(0), rtol=1e-5, atol=1e-6)


def test_the_bound_is_the_median_of_the_norms_of_all_rounds_that_are_kept():
    rule = clipped_clustering.clipped_clustering(kept=20)
    state, history = rule.init(()), []
    for scale in (1.0, 5.0, 0.2, 2.0):
        there = np.ones(9, bool)
        there[[0, 4]] = scale > 1
        x = (scale * X).astype(np.float32)
        out, state = run(rule, x, state, there)
        expected = reference.clipped_clustering(x[there], history[-(20 - there.sum()) :])
        np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-6)
        history += list(np.linalg.norm(x[there], axis=1))
    assert int(state.count) == len(history) > 20
    np.testing.assert_allclose(np.sort(state.values), np.sort(history[-20:]), rtol=1e-5)


def test_bad_settings_are_refused():
    with pytest.raises(errors.ConfigError, match="must be a whole number of 1 or more, got 0"):
        clipped_clustering.clipped_clustering(kept=0)
    rule = clipped_clustering.clipped_clustering(kept=5)
    with pytest.raises(errors.ConfigError, match="keeps 5 norms, but 9 updates come in a round"):
        run(rule, X, rule.init(()))
