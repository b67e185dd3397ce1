import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.federated.aggregators import krum, mean, median, mixing
from fl_jax.federated.aggregators.base import Stacked


def run(rule, x, weights=None):
    weights = jnp.ones(len(x)) if weights is None else jnp.asarray(weights)
    state = rule.begin({"w": jnp.zeros(x.shape[1])}, rule.init({"w": x[0]}), jax.random.key(0))
    return rule.update(Stacked({"w": jnp.asarray(x)}, weights), state)[0]["w"]


def test_everybody_has_itself_and_who_is_nearest():
    line = jnp.array([0.0, 1.0, 2.5, 9.0, 50.0])
    arrived = jnp.array([True, True, True, True, False])
    found = mixing.shares(jnp.square(line[:, None] - line[None, :]), arrived, 2)
    half = [[1, 1, 0, 0, 0], [1, 1, 0, 0, 0], [0, 1, 1, 0, 0], [0, 0, 1, 1, 0], [0] * 5]
    np.testing.assert_array_equal(found, np.array(half) / 2)


def test_equal_updates_are_each_their_own_first_neighbour():
    found = mixing.shares(jnp.zeros((4, 4)), jnp.ones(4, bool), 3)
    np.testing.assert_array_equal(found, np.eye(4))


def test_with_unlike_participants_mixing_brings_krum_nearer_to_the_mean():
    """What it is for: Krum alone gives one participant's update, the others' data are lost."""
    draw = np.random.default_rng(0)
    plain, mixed = [], []
    for _ in range(20):
        x = draw.normal(size=(11, 40)).astype(np.float32)
        x[:2] = 30.0
        honest = x[2:].mean(0)
        rule = krum.krum(attackers=2)
        plain.append(np.linalg.norm(run(rule, x) - honest))
        mixed.append(np.linalg.norm(run(mixing.nearest_neighbours(rule, attackers=2), x) - honest))
    assert np.mean(mixed) < 0.4 * np.mean(plain)


def test_bad_settings_are_refused():
    with pytest.raises(errors.ConfigError, match="whole number of 0 or more, got -1"):
        mixing.nearest_neighbours(median.median(), attackers=-1)
    rule = mixing.nearest_neighbours(mean.mean(), attackers=2)
    with pytest.raises(errors.ConfigError, match=r"mixing with f = 2 needs m >= 2f \+ 1 = 5"):
        run(rule, np.ones((4, 3), np.float32))
