import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.federated.aggregators import foolsgold
from fl_jax.federated.aggregators.base import Stacked
from tests.federated.aggregators import reference

X = np.random.default_rng(6).normal(size=(5, 8)).astype(np.float32)


def test_histories_belong_to_participants():
    rule = foolsgold.foolsgold(participants=9, select=lambda update: update["head"])
    state = rule.init({"head": jnp.zeros(8), "body": jnp.zeros(3)})
    history = np.zeros((9, 8), np.float32)
    for r, ids in enumerate([[0, 1, 2, 3, 4], [8, 1, 6, 3, 0]]):
        x = np.roll(X, r, axis=1)
        updates = {"head": jnp.asarray(x), "body": jnp.asarray(x[:, :3])}
        out, state = rule.update(Stacked(updates, jnp.ones(5), jnp.array(ids)), state)
        history[ids] += x
        expected = reference.foolsgold(np.concatenate([x, x[:, :3]], 1), history[ids])
        np.testing.assert_allclose(out["head"], expected[:8], rtol=1e-4, atol=1e-5)


def test_two_that_are_alike_lose_their_weight():
    alike = X.copy()
    alike[4] = alike[3] * 1.001
    c = alike @ alike.T / np.outer(*[np.linalg.norm(alike, axis=1)] * 2)
    found = foolsgold.weights(jnp.asarray(c), jnp.ones(5, bool))
    assert (found[3:] < 0.01).all()
    assert (found[:3] > 0.5).all()


def test_who_resembles_nobody_keeps_its_weight():
    c = np.array([[1, 0.1, -0.74], [0.1, 1, -0.74], [-0.74, -0.74, 1]], np.float32)
    np.testing.assert_array_equal(foolsgold.weights(jnp.asarray(c), jnp.ones(3, bool)), 1)


def test_weights_are_the_authors_where_cosines_are_negative():
    draw = np.random.default_rng(0)
    find = jax.jit(foolsgold.weights)
    for _ in range(100):
        x = draw.normal(size=(5, 20))
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        c = x @ x.T
        found = find(jnp.asarray(c, jnp.float32), jnp.ones(5, bool))
        np.testing.assert_allclose(found, reference.foolsgold_weights(c), atol=1e-4)


def test_absent_updates_change_no_weight():
    draw = np.random.default_rng(1)
    x = draw.normal(size=(6, 4))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    c, there = x @ x.T, np.array([1, 1, 0, 1, 0, 1], bool)
    found = foolsgold.weights(jnp.asarray(c, jnp.float32), jnp.asarray(there))
    assert not found[~there].any()
    expected = reference.foolsgold_weights(c[np.ix_(there, there)])
    np.testing.assert_allclose(found[there], expected, atol=1e-4)


def test_equal_and_zero_histories_give_finite_weights():
    for c in (jnp.ones((4, 4)), jnp.zeros((4, 4)), -jnp.ones((4, 4))):
        assert bool(jnp.all(jnp.isfinite(jax.jit(foolsgold.weights)(c, jnp.ones(4, bool)))))


def test_a_history_without_senders_is_refused():
    rule = foolsgold.foolsgold(participants=9)
    zeros = {"w": jnp.zeros(8)}
    with pytest.raises(errors.ConfigError, match="come without ids"):
        rule.update(Stacked({"w": jnp.asarray(X)}, jnp.ones(5)), rule.init(zeros))


def test_small_narrow_updates_do_not_vanish_in_a_long_history():
    rule = foolsgold.foolsgold(participants=3)
    state = rule.init({"w": jnp.zeros(4, jnp.bfloat16)})
    small = {"w": jnp.full((3, 4), 2.0**-9, jnp.bfloat16)}
    first = {"w": jnp.ones((3, 4), jnp.bfloat16)}
    for updates in (first, small, small):
        _, state = rule.update(Stacked(updates, jnp.ones(3), jnp.arange(3)), state)
    np.testing.assert_array_equal(state.sums["w"], 1 + 2.0**-8)
