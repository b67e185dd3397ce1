import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.federated.aggregators import signguard
from fl_jax.federated.aggregators.base import Stacked
from fl_jax.federated.statistics import coordinates
from tests.federated.aggregators import reference

X = np.random.default_rng(2).normal(size=(11, 300)).astype(np.float32) + np.float32(0.3)
COLUMNS = np.asarray(coordinates.choose(jax.random.key(3), 300, 60))


@jax.jit
def run(x, weights):
    rule = signguard.signguard(drawn=0.2)
    state = rule.begin((), rule.init(()), jax.random.key(3))
    return rule.update(Stacked({"w": x}, weights), state)[0]["w"]


def aggregate(x, arrived=None):
    there = np.ones(len(x), bool) if arrived is None else arrived
    return run(jnp.where(there[:, None], x, 0), jnp.asarray(there, jnp.float32))


def test_attackers_are_filtered_as_in_the_paper():
    planted = X.copy()
    planted[0] *= 40  # too long
    planted[1] *= 0.01  # too short
    planted[[5, 9]] *= -1  # as long as the others, the other way
    assert set(reference.signguard_members(planted, COLUMNS)) <= set(range(11)) - {0, 1, 5, 9}
    np.testing.assert_allclose(
        aggregate(planted), reference.signguard(planted, COLUMNS), rtol=1e-5, atol=1e-6
    )


def test_absent_updates_change_nothing():
    there = np.ones(11, bool)
    there[[3, 6]] = False
    expected = reference.signguard(X[there], COLUMNS)
    np.testing.assert_allclose(aggregate(X, there), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("similarity", ["cosine", "distance"])
def test_variants_compare_with_the_last_aggregate(similarity):
    """Two attackers whose signs are split as the others' are, but elsewhere."""
    common = np.random.default_rng(5).normal(size=300)
    rule = signguard.signguard(similarity=similarity, drawn=0.2)
    state, last = rule.init({"w": jnp.zeros(300)}), None
    for scale in (1.0, 0.9, 0.8):
        planted = (scale * (X + 1.5 * common)).astype(np.float32)
        planted[[2, 7]] = planted[[2, 7]][:, ::-1]
        state = rule.begin((), state, jax.random.key(3))
        seen = Stacked({"w": jnp.asarray(planted)}, jnp.ones(11))
        out, state = jax.jit(rule.update)(seen, state)
        fourth = reference.likeness(planted, similarity, last)
        expected = reference.signguard(planted, COLUMNS, fourth)
        np.testing.assert_allclose(out["w"], expected, rtol=1e-5, atol=1e-6)
        last = expected
        np.testing.assert_allclose(state.last["w"], last, rtol=1e-5, atol=1e-6)
    members = set(reference.signguard_members(planted, COLUMNS, fourth))
    assert not {2, 7} & members
    assert {2, 7} & set(reference.signguard_members(planted, COLUMNS))


def test_a_round_that_nobody_is_trusted_in_is_not_remembered():
    rule = signguard.signguard(similarity="distance")
    state = rule.begin((), rule.init({"w": jnp.zeros(300)}), jax.random.key(0))
    _, state = rule.update(Stacked({"w": jnp.asarray(X)}, jnp.ones(11)), state)
    _, after = rule.update(Stacked({"w": jnp.zeros((11, 300))}, jnp.zeros(11)), state)
    assert np.any(state.last["w"])
    np.testing.assert_array_equal(after.last["w"], state.last["w"])


def test_zeros_have_a_share_of_their_own():
    found = signguard.shares(jnp.array([[1.0, 0.0, -2.0, 3.0], [0.0, 0.0, 0.0, -1.0]]))
    np.testing.assert_array_equal(found, [[0.5, 0.25, 0.25], [0, 0.75, 0.25]])


def test_bad_settings_are_refused():
    with pytest.raises(errors.ConfigError, match="lowest is 3 and highest 1"):
        signguard.signguard(lowest=3, highest=1)
    with pytest.raises(errors.ConfigError, match="unknown similarity of SignGuard 'cosin'; did"):
        signguard.signguard(similarity="cosin")
    with pytest.raises(errors.ConfigError, match=r"drawn is a share, in \(0, 1\], got 0"):
        signguard.signguard(drawn=0)
