import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.federated.aggregators import dnc
from fl_jax.federated.aggregators.base import Stacked
from fl_jax.federated.statistics import coordinates
from tests.federated.aggregators import reference

X = np.random.default_rng(5).normal(size=(11, 40)).astype(np.float32)


def run(rule, x, weights=None):
    seen = Stacked({"w": jnp.asarray(x)}, jnp.ones(len(x)) if weights is None else weights)
    state = rule.begin((), rule.init(()), jax.random.key(3))
    return np.asarray(jax.jit(rule.update)(seen, state)[0]["w"])


@pytest.mark.parametrize("filtered", [0.5, 1.0, 1.5])
def test_iterations_on_drawn_coordinates_intersect(filtered):
    keys = jax.random.split(jax.random.key(3), 3)
    drawn = [np.asarray(coordinates.choose(key, 40, 9)) for key in keys]
    assert len({tuple(columns) for columns in drawn}) == 3
    expected = reference.dnc(X, 2, drawn, filtered)
    rule = dnc.dnc(attackers=2, filtered=filtered, iterations=3, count=9)
    np.testing.assert_allclose(run(rule, X), expected, rtol=1e-5, atol=1e-6)


def test_colluders_with_a_common_direction_are_dropped():
    planted = X.copy()
    planted[[2, 7, 8]] += 2.5  # each coordinate within three deviations of the benign ones
    benign = np.delete(planted, [2, 7, 8], axis=0).mean(0)
    np.testing.assert_allclose(run(dnc.dnc(attackers=3), planted), benign, rtol=1e-5, atol=1e-6)
    weights = jnp.ones(11).at[jnp.array([2, 5])].set(0.0)
    left = np.delete(planted, [2, 5, 7, 8], axis=0)
    gone = np.where(np.asarray(weights)[:, None] > 0, planted, 0.0)
    found = run(dnc.dnc(attackers=2), gone, weights)
    np.testing.assert_allclose(found, left.mean(0), rtol=1e-5, atol=1e-6)


def test_where_nobody_survives_nothing_moves():
    rule = dnc.dnc(attackers=4, filtered=3.0)
    assert not run(rule, X).any()
    assert run(dnc.dnc(attackers=4, filtered=2.0), X).any()


def test_bad_settings_are_refused():
    with pytest.raises(errors.ConfigError, match=r"must be a whole number of 0 or more, got -1"):
        dnc.dnc(attackers=-1)
    with pytest.raises(errors.ConfigError, match=r"\(c\) must be above 0, got 0"):
        dnc.dnc(attackers=1, filtered=0)
    with pytest.raises(errors.ConfigError, match=r"DnC with f = 6 needs m >= 2f \+ 1 = 13"):
        run(dnc.dnc(attackers=6), X)
