import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.federated.aggregators import alignins
from fl_jax.federated.aggregators.base import Stacked
from tests.federated.aggregators import reference

DRAW = np.random.default_rng(6)
MODEL = DRAW.normal(size=200).astype(np.float32)
X = (DRAW.normal(size=(11, 200)) + 0.4 * MODEL + 0.4).astype(np.float32)


def run(x, arrived=None, model=MODEL, **settings):
    there = np.ones(len(x), bool) if arrived is None else arrived
    rule, variables = alignins.alignins(**settings), {"w": jnp.asarray(model)}
    state = rule.begin(variables, rule.init(variables), jax.random.key(0))
    seen = Stacked({"w": jnp.where(there[:, None], x, 0)}, jnp.asarray(there, jnp.float32))
    return np.asarray(jax.jit(rule.update)(seen, state)[0]["w"])


@pytest.mark.parametrize("share", [0.1, 0.3, 1.0])
def test_two_filters_and_clipping_are_those_of_the_twin(share):
    expected = reference.alignins(X, MODEL, share)
    assert expected.any()
    np.testing.assert_allclose(run(X, share=share), expected, rtol=1e-5, atol=1e-6)


def test_absent_updates_change_nothing():
    there = np.ones(11, bool)
    there[[0, 6]] = False
    expected = reference.alignins(X[there], MODEL)
    np.testing.assert_allclose(run(X, there), expected, rtol=1e-5, atol=1e-6)


def test_each_filter_finds_its_attacker():
    planted = X.copy()
    planted[2] = DRAW.normal(size=200)  # against the signs of most
    planted[7] = X[7] + 3 * np.abs(X[7]).mean() * MODEL  # along the model
    turned, aligned = reference.alignins_measures(planted, MODEL)
    assert turned.argmax() == 7
    assert aligned.argmin() == 2
    # With one bound out of reach the other filter alone speaks.
    for bounds, found in (((1.0, 99.0), 7), ((99.0, 1.0), 2)):
        members = reference.alignins_members(planted, MODEL, bounds=bounds)
        assert found not in members
        expected = reference.usually_long(planted[members]).mean(0)
        out = run(planted, direction=bounds[0], signs=bounds[1])
        np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-6)


def test_where_nobody_passes_nothing_moves():
    assert not run(X[:2], signs=0.9, direction=0.9).any()


def test_a_measure_on_which_all_agree_filters_nobody():
    found = alignins.departures(jnp.full(5, 0.3), jnp.ones(5, bool))
    np.testing.assert_array_equal(found, 0)
    assert run(X, model=0 * MODEL).any()  # no direction to agree with


def test_bad_settings_are_refused():
    with pytest.raises(errors.ConfigError, match=r"counts lies in \(0, 1\], got 2"):
        alignins.alignins(share=2)
    with pytest.raises(errors.ConfigError, match=r"\(lambda_s\) must be above 0, got 0"):
        alignins.alignins(signs=0)
    with pytest.raises(errors.ConfigError, match=r"\(lambda_c\) must be above 0, got -1"):
        alignins.alignins(direction=-1)
