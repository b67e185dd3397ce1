import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.federated.aggregators import rflbat
from fl_jax.federated.aggregators.base import Stacked
from tests.federated.aggregators import reference

M, D = 14, 60
KEY = jax.random.key(3)
UNIFORM = np.asarray(jax.random.uniform(KEY, (5, M, 2)))
X = np.random.default_rng(0).normal(size=(M, D)).astype(np.float32)


@jax.jit
def run(x, weights):
    rule = rflbat.rflbat()
    state = rule.begin((), rule.init(()), KEY)
    return rule.update(Stacked({"w": x}, weights), state)[0]["w"]


def planted(seed):
    """Benign updates that share a little, three attackers that share much."""
    draw = np.random.default_rng(seed)
    x = X + 0.3 * draw.normal(size=D)
    x[[1, 6, 11]] = 3 * draw.normal(size=D) + 0.2 * draw.normal(size=(3, D))
    return x.astype(np.float32)


def test_it_is_the_slow_twin_step_by_step():
    for seed in range(6):
        x = planted(seed)
        x[seed] *= 50.0 if seed == 5 else 1.0  # too far for the first filter
        expected = reference.rflbat(x, UNIFORM)
        np.testing.assert_allclose(run(x, jnp.ones(M)), expected, rtol=1e-4, atol=1e-5)


def test_attackers_who_resemble_each_other_are_left_out():
    for seed in range(4):
        x = planted(seed)
        members = reference.rflbat_members(x, UNIFORM)
        assert not set(members) & {1, 6, 11}
        assert len(members) >= 5
        np.testing.assert_allclose(run(x, jnp.ones(M)), x[members].mean(0), rtol=1e-4, atol=1e-5)


def test_absent_updates_change_nothing():
    x, there = planted(0), np.ones(M, bool)
    there[[1, 4]] = False
    found = run(np.where(there[:, None], x, 0), jnp.asarray(there, jnp.float32))
    expected = x[reference.rflbat_members(x, UNIFORM, there)].mean(0)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_bad_settings_are_refused():
    with pytest.raises(errors.ConfigError, match="most of RFLBAT must be a whole number of 1 or"):
        rflbat.rflbat(most=0)
