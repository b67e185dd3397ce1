import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.federated.aggregators import deepsight
from fl_jax.federated.aggregators.base import Stacked
from tests.federated.aggregators import reference

M, INPUTS, CLASSES = 12, 6, 5
DRAW = np.random.default_rng(0)
MODEL = (DRAW.normal(size=(INPUTS, CLASSES)), DRAW.normal(size=CLASSES))
KEY = jax.random.key(3)


def draw(key):
    return jax.random.uniform(key, (50, INPUTS))


def rule(**settings):
    return deepsight.deepsight(
        apply=lambda v, x: x @ v["kernel"] + v["bias"][None, :],
        inputs=draw,
        select=lambda v: deepsight.Layer(v["kernel"], v["bias"]),
        **settings,
    )


BATCHES = [np.asarray(draw(key), np.float64) for key in jax.random.split(KEY, 3)]


@jax.jit
def run(kernels, biases, weights):
    chosen = rule()
    model = {"kernel": jnp.asarray(MODEL[0], jnp.float32), "bias": jnp.asarray(MODEL[1])}
    model["bias"] = model["bias"].astype(jnp.float32)
    state = chosen.begin(model, chosen.init(model), KEY)
    out, _ = chosen.update(Stacked({"kernel": kernels, "bias": biases}, weights), state)
    return jnp.concatenate([out["kernel"].reshape(-1), out["bias"]])


def aggregate(kernels, biases, arrived):
    there = arrived[:, None].astype(np.float32)
    sent = (kernels * there[:, None], biases * there, there[:, 0])
    return np.asarray(run(*[jnp.asarray(a, jnp.float32) for a in sent]))


def expected(kernels, biases):
    x = np.concatenate([kernels.reshape(len(kernels), -1), biases], axis=1)
    return reference.deepsight(x, kernels, biases, MODEL, BATCHES)


def updates(seed, poisoned):
    """Benign ones of two mixtures of classes; the others push a single class."""
    draws = np.random.default_rng(seed)
    pull = draws.normal(size=(2, INPUTS + 1, CLASSES))
    both = pull[np.arange(M) % 2] + 0.3 * draws.normal(size=(M, INPUTS + 1, CLASSES))
    push = np.zeros((INPUTS + 1, CLASSES))
    push[:, 2] = 3
    both[list(poisoned)] = push + 0.02 * draws.normal(size=(len(poisoned), *push.shape))
    return 0.1 * both[:, :-1], 0.1 * both[:, -1]


def test_it_is_the_slow_twin():
    everyone = np.ones(M, bool)
    for seed in range(5):
        kernels, biases = updates(seed, (1, 4, 7)[: seed % 4])
        found = aggregate(kernels, biases, everyone)
        np.testing.assert_allclose(found, expected(kernels, biases), rtol=1e-4, atol=1e-6)


def test_poisoned_updates_are_left_out():
    for seed in range(4):
        kernels, biases = updates(seed, (1, 4, 7))
        members = reference.deepsight_members(kernels, biases, MODEL, BATCHES)
        assert not set(members) & {1, 4, 7}
        assert len(members) >= 6


def test_absent_updates_change_nothing():
    kernels, biases = updates(2, (1, 4))
    there = np.ones(M, bool)
    there[[4, 9]] = False
    found = aggregate(kernels, biases, there)
    np.testing.assert_allclose(found, expected(kernels[there], biases[there]), rtol=1e-4, atol=1e-6)


def test_a_group_is_judged_by_its_members():
    groups = np.array([0, 0, 0, 1, 1, 1, 2, 3, 4])
    same = jnp.asarray(groups[:, None] == groups[None])
    found = jnp.array([9, 9, 2, 9, 2, 2, 9, 2, 9])  # median 9: suspicious are those with 2
    judge = lambda share: np.flatnonzero(
        deepsight.accepted(same, found, jnp.ones(9, bool), share)
    ).tolist()
    assert judge(0.34) == [0, 1, 2, 6, 8]
    assert judge(1 / 3) == [6, 8]
    assert judge(0.7) == [0, 1, 2, 3, 4, 5, 6, 8]


def test_energies_are_counted_against_the_largest():
    kernel = jnp.array([[3.0, -1.0, 0.0], [0.0, 1.0, 0.5]])
    last = deepsight.Layer(kernel, jnp.array([0.0, 1.0, -0.5]))
    np.testing.assert_allclose(deepsight.energies(last), np.array([9, 9, 1]) / 19, rtol=1e-6)
    assert int(deepsight.exceedings(jnp.array([0.6, 0.3, 0.1]))) == 2  # 0.2 is the bound
    many = jnp.zeros(200).at[:3].set(jnp.array([0.9, 0.01, 0.001]))
    assert int(deepsight.exceedings(many)) == 2  # 0.009: not a 200th


def test_bad_settings_are_refused():
    with pytest.raises(errors.ConfigError, match=r"share \(tau\) must lie in \(0, 1\], got 0"):
        rule(share=0)
    with pytest.raises(errors.ConfigError, match="has 2 updates or more, got 1"):
        rule(smallest=1)
