import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.federated.aggregators import flare
from fl_jax.federated.aggregators.base import Stacked
from tests.federated.aggregators import reference

DRAW = np.random.default_rng(9)
ROOT = DRAW.normal(size=(12, 5)).astype(np.float32)
MODEL = DRAW.normal(size=(5, 4)).astype(np.float32)
X = 0.3 * DRAW.normal(size=(9, 5, 4)).astype(np.float32)
represent = lambda w: np.maximum(ROOT @ w.reshape(5, 4), 0)


def run(x, arrived=None, **settings):
    there = np.ones(len(x), bool) if arrived is None else arrived
    features = lambda v, x: jax.nn.relu(x @ v["w"])
    rule, model = flare.flare(features=features, root=ROOT, **settings), {"w": jnp.asarray(MODEL)}
    state = rule.begin(model, rule.init(model), jax.random.key(0))
    updates = {"w": jnp.where(there[:, None, None], x, 0)}
    seen = Stacked(updates, jnp.asarray(there, jnp.float32))
    return np.asarray(jax.jit(rule.update)(seen, state)[0]["w"])


def twin(x):
    return reference.flare(x.reshape(len(x), -1), represent, MODEL.ravel()).reshape(5, 4)


def test_trust_is_the_softmax_of_votes():
    np.testing.assert_allclose(run(X), twin(X), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(run(X, temperature=1e6), X.mean(0), rtol=1e-4, atol=1e-6)


def test_absent_updates_change_nothing():
    there = np.ones(9, bool)
    there[[1, 5]] = False
    np.testing.assert_allclose(run(X, there), twin(X[there]), rtol=1e-4, atol=1e-6)


def test_a_model_that_represents_otherwise_has_no_trust():
    planted = X.copy()
    planted[4] = -2 * MODEL
    expected = twin(planted)
    without = np.delete(planted, 4, axis=0)
    trust = np.linalg.lstsq(planted.reshape(9, -1).T, expected.ravel(), rcond=None)[0]
    assert trust[4] < 1e-3
    np.testing.assert_allclose(run(planted), expected, rtol=1e-4, atol=1e-6)
    assert np.abs(run(planted) - without.mean(0)).max() < 0.3


def test_everyone_votes_for_the_nearest_half_of_the_others():
    x = np.array([0.0, 1.0, 3.0, 7.0, 50.0])
    apart = jnp.asarray(np.abs(x[:, None] - x[None]), jnp.float32)
    found = flare.votes(apart, jnp.ones(5, bool))
    np.testing.assert_array_equal(found, [2, 3, 4, 1, 0])
    found = flare.votes(apart, jnp.array([True, False, True, True, True]))
    np.testing.assert_array_equal(found, [2, 0, 3, 3, 0])


def test_bad_settings_are_refused():
    with pytest.raises(errors.ConfigError, match=r"two auxiliary examples or more .* got 1"):
        flare.flare(features=lambda v, x: x, root=ROOT[:1])
    with pytest.raises(errors.ConfigError, match=r"\(tau\) must be above 0, got 0"):
        flare.flare(features=lambda v, x: x, root=ROOT, temperature=0)
