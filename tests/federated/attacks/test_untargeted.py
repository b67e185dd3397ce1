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


def test_min_sum_goes_just_as_far_as_the_worst_benign_sum():
    sent, _ = send(untargeted.min_sum(attackers=2, direction="std"))
    sums = [((X - x) ** 2).sum() for x in X]
    assert ((X - sent) ** 2).sum() == pytest.approx(max(sums), rel=1e-4)


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
    with pytest.raises(errors.ConfigError, match="attackers must be above 0"):
        untargeted.little_is_enough(attackers=0)
    with pytest.raises(errors.ConfigError, match="epsilon must be above 0"):
        untargeted.inner_product(attackers=1, epsilon=0.0)
