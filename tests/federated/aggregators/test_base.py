"""The contract of aggregators: each against a slow NumPy reference, and what all must hold."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.federated.aggregators import mean, median
from fl_jax.federated.aggregators.base import Stacked, Summed

COHORT, SIZE = 7, 13
UPDATES = np.random.default_rng(0).normal(size=(COHORT, SIZE)).astype(np.float32)
SHARES = np.array([3, 1, 4, 1, 5, 9, 2], np.float32)

# name: (aggregator, NumPy reference on (updates, shares)); one line each.
RULES = {
    "fedavg": (mean.fedavg(eta=2.0, participants=50), lambda u, n: 2.0 / 50 * u.sum(0)),
    "mean by examples": (mean.mean(), lambda u, n: np.average(u, axis=0, weights=n)),
    "uniform mean": (mean.mean(weight="uniform"), lambda u, n: u.mean(0)),
    "median": (median.median(), lambda u, n: np.median(u, axis=0)),
}
MEANS = ["mean by examples", "uniform mean", "median"]  # at equal inputs they return the input


def aggregate(rule, updates, arrived=None, shares=SHARES):
    """The rule on these updates, collected as a round collects them."""
    base = shares if rule.weight == "examples" else np.ones(COHORT, np.float32)
    weights = base if arrived is None else base * arrived
    tree = {"w": jnp.asarray(updates[:, :10]), "b": jnp.asarray(updates[:, 10:])}
    if rule.sees is Summed:
        total = jax.tree.map(lambda a: jnp.asarray(weights) @ a, tree)
        seen = Summed(total, jnp.float32(weights.sum()))
    else:
        kept = lambda a: jnp.where(jnp.asarray(weights)[:, None] > 0, a, 0.0)
        seen = Stacked(jax.tree.map(kept, tree), jnp.asarray(weights))
    out, state = jax.jit(rule.update)(seen, rule.init(tree))
    assert jax.tree.structure(state) == jax.tree.structure(rule.init(tree))
    return np.concatenate([out["w"], out["b"]])


@pytest.fixture(params=sorted(RULES))
def rule(request):
    return RULES[request.param]


def test_it_equals_its_reference(rule):
    np.testing.assert_allclose(
        aggregate(rule[0], UPDATES), rule[1](UPDATES, SHARES), rtol=1e-5, atol=1e-6
    )


def test_dropped_updates_leave_no_trace(rule):
    arrived = np.array([1, 1, 0, 1, 1, 0, 1], np.float32)
    broken = np.where(arrived[:, None] > 0, UPDATES, 0)
    there = arrived > 0
    np.testing.assert_allclose(
        aggregate(rule[0], broken, arrived),
        rule[1](UPDATES[there], SHARES[there]),
        rtol=1e-5,
        atol=1e-6,
    )


def test_nothing_arrives_and_nothing_moves(rule):
    gone = np.zeros(COHORT, np.float32)
    np.testing.assert_array_equal(aggregate(rule[0], np.zeros_like(UPDATES), gone), 0)


def test_order_does_not_matter(rule):
    turned = np.roll(UPDATES, 3, axis=0)
    np.testing.assert_allclose(
        aggregate(rule[0], turned, shares=np.roll(SHARES, 3)),
        aggregate(rule[0], UPDATES),
        rtol=1e-5,
        atol=1e-6,
    )


@pytest.mark.parametrize("name", MEANS)
def test_equal_updates_are_returned(name):
    same = np.broadcast_to(UPDATES[:1], UPDATES.shape)
    np.testing.assert_allclose(aggregate(RULES[name][0], same), UPDATES[0], rtol=1e-5)


@pytest.mark.parametrize("name", MEANS)
def test_a_shift_of_all_shifts_the_result(name):
    shift = np.linspace(-3, 3, SIZE, dtype=np.float32)
    np.testing.assert_allclose(
        aggregate(RULES[name][0], UPDATES + shift),
        aggregate(RULES[name][0], UPDATES) + shift,
        rtol=1e-4,
        atol=1e-5,
    )
