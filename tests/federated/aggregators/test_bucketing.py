import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.federated.aggregators import bucketing, foolsgold, krum, mean, median
from fl_jax.federated.aggregators.base import Stacked, as_stacked

X = np.random.default_rng(0).normal(size=(9, 5)).astype(np.float32)
IDS = jnp.array([7, 3, 11, 0, 5, 2, 19, 4, 6])


def seen_by_rule(size, weights=None, ids=IDS, key=0, x=X, rule=None):
    weights = jnp.ones(len(x)) if weights is None else jnp.asarray(weights, jnp.float32)
    caught = []
    inner = as_stacked(rule or mean.mean(weight="uniform"))

    def look(seen, state):
        caught.append(seen)
        return inner.update(seen, state)

    made = bucketing.bucketing(inner._replace(update=look), size=size)
    model = {"w": jnp.zeros(x.shape[1])}
    state = made.begin(model, made.init(model), jax.random.key(key))
    out, _ = made.update(Stacked({"w": jnp.asarray(x)}, weights, ids), state)
    return caught[0], out["w"]


def test_every_update_is_in_one_mean_of_as_many_as_are_asked_for():
    units = np.eye(9, dtype=np.float32)
    seen, _ = seen_by_rule(2, x=units, rule=krum.krum(attackers=1))
    means = np.asarray(seen.updates["w"])
    assert means.shape == (5, 9) and seen.ids is None
    np.testing.assert_array_equal((means > 0).sum(1), [2, 2, 2, 2, 1])
    np.testing.assert_array_equal((means > 0).sum(0), np.ones(9))
    np.testing.assert_allclose(means.sum(1), 1)


def test_whoever_did_not_arrive_leaves_no_gap():
    there = np.array([1, 0, 1, 1, 0, 1, 1, 0, 1], np.float32)
    seen, out = seen_by_rule(2, there, x=X * there[:, None])
    np.testing.assert_array_equal(seen.weights, [1, 1, 1, 0, 0])
    np.testing.assert_allclose(out, X[there > 0].mean(0), rtol=1e-5, atol=1e-6)


def test_the_draw_follows_the_senders_and_the_key():
    turned = seen_by_rule(2, x=X[::-1].copy(), ids=IDS[::-1])[0].updates["w"]
    np.testing.assert_allclose(turned, seen_by_rule(2)[0].updates["w"], rtol=1e-6, atol=1e-7)
    other = seen_by_rule(2, key=1)[0].updates["w"]
    assert np.abs(np.asarray(other) - np.asarray(turned)).max() > 0.1


def test_means_of_examples_weigh_by_their_sums():
    shares = np.array([3, 1, 4, 1, 5, 9, 2, 6, 5], np.float32)
    seen, out = seen_by_rule(4, shares, rule=mean.mean())
    assert float(seen.weights.sum()) == shares.sum()
    np.testing.assert_allclose(out, np.average(X, axis=0, weights=shares), rtol=1e-5, atol=1e-6)


def test_buckets_of_one_are_the_rule_itself():
    _, out = seen_by_rule(1, rule=median.median())
    np.testing.assert_allclose(out, np.median(X, axis=0), rtol=1e-6)


def test_with_unlike_participants_bucketing_brings_krum_nearer_to_the_mean():
    draw = np.random.default_rng(0)
    apart = {1: [], 2: []}
    for trial in range(20):
        x = draw.normal(size=(20, 5)).astype(np.float32) * 3
        x[0] = 30.0
        ids = jnp.arange(20)
        for size, found in apart.items():
            _, out = seen_by_rule(size, x=x, ids=ids, key=trial, rule=krum.krum(attackers=1))
            found.append(np.linalg.norm(out - x[1:].mean(0)))
    assert np.mean(apart[2]) < np.mean(apart[1])


def test_bad_settings_are_refused():
    with pytest.raises(errors.ConfigError, match="bucket must be a whole number of 1 or more"):
        bucketing.bucketing(median.median(), size=0)
    with pytest.raises(errors.ConfigError, match="without ids"):
        seen_by_rule(2, rule=foolsgold.foolsgold(participants=20))
    with pytest.raises(errors.ConfigError, match="Krum with f = 2 needs m >= 2f"):
        seen_by_rule(2, rule=krum.krum(attackers=2))
