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


def test_equal_and_zero_histories_give_finite_weights():
    for c in (jnp.ones((4, 4)), jnp.zeros((4, 4)), -jnp.ones((4, 4))):
        assert bool(jnp.all(jnp.isfinite(jax.jit(foolsgold.weights)(c, jnp.ones(4, bool)))))


def test_a_history_without_senders_is_refused():
    rule = foolsgold.foolsgold(participants=9)
    zeros = {"w": jnp.zeros(8)}
    with pytest.raises(errors.ConfigError, match="come without ids"):
        rule.update(Stacked({"w": jnp.asarray(X)}, jnp.ones(5)), rule.init(zeros))
