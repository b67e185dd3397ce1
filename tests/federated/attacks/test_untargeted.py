import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from fl_jax.core import errors, tree
from fl_jax.federated.aggregators.base import Stacked
from fl_jax.federated.attacks import untargeted
from fl_jax.federated.attacks.base import View
from tests.federated import toy

X = np.random.default_rng(3).normal(size=(8, 20)).astype(np.float32) + 0.5
BENIGN = Stacked({"w": jnp.asarray(X)}, jnp.ones(8))


def send(attack, count=2):
    view = View({"w": jnp.zeros(20)}, jnp.int32(count), jnp.int32(0), BENIGN, ())
    sent, _, info = attack.update(view, (), jax.random.key(0))
    assert all((leaf == leaf[:1]).all() for leaf in jax.tree.leaves(sent))
    return np.asarray(sent["w"][0]), info


def test_alie_shifts_by_the_largest_z_that_hides():
    sent, info = send(untargeted.little_is_enough(attackers=3), count=3)
    m, k = 11, 3
    s = m // 2 + 1 - k
    z = stats.norm.ppf((m - k - s) / (m - k))
    assert float(info.scale) == pytest.approx(z, rel=1e-4)
    np.testing.assert_allclose(sent, X.mean(0) - z * X.std(0), rtol=1e-4, atol=1e-5)


def test_ipm_points_against_the_mean():
    sent, _ = send(untargeted.inner_product(attackers=2, epsilon=0.7))
    np.testing.assert_allclose(sent, -0.7 * X.mean(0), rtol=1e-5)


@pytest.mark.parametrize("direction", ["std", "unit", "sign"])
def test_min_max_goes_just_as_far_as_the_benign_are_apart(direction):
    sent, info = send(untargeted.min_max(attackers=2, direction=direction))
    diameter = max(np.linalg.norm(a - b) for a in X for b in X)
    assert float(info.scale) > 0
    assert np.linalg.norm(X - sent, axis=1).max() == pytest.approx(diameter, rel=1e-4)


@pytest.mark.parametrize("direction", ["std", "unit", "sign"])
def test_min_sum_goes_just_as_far_as_the_worst_benign_sum(direction):
    sent, info = send(untargeted.min_sum(attackers=2, direction=direction))
    sums = [((X - x) ** 2).sum() for x in X]
    assert float(info.scale) > 0
    assert ((X - sent) ** 2).sum() == pytest.approx(max(sums), rel=1e-4)


def by_halving(inside, direction):
    """Algorithm 1 of the paper: gamma from 10, in halving steps, for ever finer ones."""
    mean = X.astype(np.float64).mean(0)
    p = {"std": -X.std(0), "unit": -mean / np.linalg.norm(mean), "sign": -np.sign(mean)}[direction]
    gamma, step, found = 10.0, 10.0, 0.0
    while step > 1e-7:
        if inside(mean + gamma * p):
            found, gamma = gamma, gamma + step / 2
        else:
            gamma -= step / 2
        step /= 2
    return found, mean + found * p


@pytest.mark.parametrize("direction", ["std", "unit", "sign"])
def test_min_max_and_min_sum_equal_the_papers_search(direction):
    apart = ((X[:, None] - X[None]) ** 2).sum(-1)
    nearest = {
        untargeted.min_max: lambda v: ((X - v) ** 2).sum(1).max() <= apart.max(),
        untargeted.min_sum: lambda v: ((X - v) ** 2).sum() <= apart.sum(1).max(),
    }
    for make, inside in nearest.items():
        sent, info = send(make(attackers=2, direction=direction))
        gamma, vector = by_halving(inside, direction)
        assert float(info.scale) == pytest.approx(gamma, rel=1e-4)
        np.testing.assert_allclose(sent, vector, rtol=1e-4, atol=1e-4)


def test_noise_has_its_deviation_and_each_its_own(key):
    g = {"w": jnp.zeros(5000)}
    view = View(g, jnp.int32(2), jnp.int32(0), None, ())
    sent, _, _ = untargeted.noise(attackers=2, deviation=3.0).update(view, (), key)
    assert np.asarray(sent["w"]).std(axis=1) == pytest.approx([3.0, 3.0], rel=0.05)
    assert abs(np.corrcoef(sent["w"])[0, 1]) < 0.06


def test_flips_train_on_the_participants_own_examples(key):
    g, people, client = toy.variables(key), toy.people(), toy.trainer(epochs=1)
    ids = jnp.array([4, 7])
    view = View(g, jnp.int32(2), jnp.int32(0), None, (), ids, people)
    run = lambda attack: attack.update(view, (), key)[0]
    plain = run(untargeted.honest(client, attackers=2))
    flipped = run(untargeted.sign_flip(client, attackers=2, scale=2.0))
    turned = {**people.examples, "y": 2 - people.examples["y"]}
    relabelled = run(untargeted.label_flip(client, attackers=2, classes=3))
    view = view._replace(population=dataclasses.replace(people, examples=turned))
    expected = run(untargeted.honest(client, attackers=2))
    for a, b in zip(jax.tree.leaves(flipped), jax.tree.leaves(plain), strict=True):
        np.testing.assert_allclose(a, -2 * b, rtol=1e-5, atol=1e-7)
    for a, b in zip(jax.tree.leaves(relabelled), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(a, b)
    assert float(tree.norm(tree.sub(plain, relabelled))) > 1e-3


def test_bad_settings_are_refused():
    with pytest.raises(errors.ConfigError, match="unknown direction 'up'"):
        untargeted.min_max(attackers=1, direction="up")
    with pytest.raises(errors.ConfigError, match="attackers must be a whole number of 1 or more"):
        untargeted.little_is_enough(attackers=0)
    with pytest.raises(errors.ConfigError, match="epsilon must be above 0"):
        untargeted.inner_product(attackers=1, epsilon=0.0)
    with pytest.raises(errors.ConfigError, match="deviation must be above 0"):
        untargeted.noise(attackers=1, deviation=0.0)


@pytest.mark.parametrize("name", ["little_is_enough", "inner_product", "min_max", "min_sum"])
def test_attacks_on_the_others_updates_refuse_a_sum_of_them(name):
    view = View({"w": jnp.zeros(20)}, jnp.int32(1), jnp.int32(0), (), ())
    with pytest.raises(errors.ConfigError, match="must be `Stacked`, but tuple came"):
        getattr(untargeted, name)(attackers=1).update(view, (), jax.random.key(0))


def test_the_deviation_of_small_narrow_updates_is_not_zero():
    narrow = {"w": jnp.asarray(1e-4 * X).astype(jnp.float16)}  # squares below float16
    found = untargeted.moments(Stacked(narrow, jnp.ones(8)))
    exact = np.asarray(narrow["w"], np.float32)
    assert found.deviation["w"].dtype == jnp.float16
    np.testing.assert_allclose(found.mean["w"], exact.mean(0), rtol=0.05, atol=1e-7)
    np.testing.assert_allclose(found.deviation["w"], exact.std(0), rtol=0.05, atol=1e-7)
