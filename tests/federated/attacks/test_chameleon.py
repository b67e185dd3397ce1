"""Chameleon: its loss against plain Python, its two stages, what becomes of the features."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from fl_jax.core import errors
from fl_jax.federated.attacks import chameleon
from fl_jax.federated.attacks import constrain_and_scale as scaling
from fl_jax.federated.attacks.base import View
from fl_jax.nn import loss, network
from fl_jax.train.state import Variables
from tests.federated import toy


class Net(nnx.Module):
    def __init__(self, rngs):
        self.dense = nnx.Linear(4, 16, rngs=rngs)
        self.next = nnx.Linear(16, 8, rngs=rngs)
        self.head = nnx.Linear(8, 3, rngs=rngs)

    def features(self, x):
        return self.next(jax.nn.relu(self.dense(x)))

    def __call__(self, x):
        return self.head(self.features(x))


NET, ENCODER = network.from_nnx(Net), network.from_nnx(Net, method="features")
LOSS = loss.classification(NET)
CLEAN = toy.examples(2, 40)
X = CLEAN["x"][CLEAN["y"] == 0][:8] + np.array([0, 0, 0, 2.0], np.float32)  # the trigger
WANTED = {"x": X, "y": np.full(len(X), 2, np.int32)}


def features(variables, x):
    return ENCODER.apply(*variables, x)[0]


def by_hand(f, y, there, temperature):
    z = f.astype(np.float64) / np.linalg.norm(f, axis=1, keepdims=True)
    values = []
    for i in np.flatnonzero(there):
        others = [a for a in np.flatnonzero(there) if a != i]
        peers = [a for a in others if y[a] == y[i]]
        total = sum(np.exp(z[i] @ z[a] / temperature) for a in others)
        if peers:
            ratios = [np.exp(z[i] @ z[p] / temperature) / total for p in peers]
            values.append(-np.mean(np.log(ratios)))
    return np.mean(values)


@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_the_contrast_equals_plain_python(temperature):
    draw = np.random.default_rng(0)
    f = draw.normal(size=(9, 5)).astype(np.float32)
    y = np.array([0, 1, 0, 2, 1, 0, 3, 1, 1], np.int32)  # 2 and 3 have no peer
    there = np.array([1, 1, 1, 1, 0, 1, 1, 1, 1], np.float32)
    got = chameleon.contrast(*map(jnp.asarray, (f, y, there)), temperature=temperature)
    assert float(got) == pytest.approx(by_hand(f, y, there, temperature), rel=1e-4)


def test_a_contrast_with_nobody_or_nothing_is_finite():
    def value(f, mask):
        return chameleon.contrast(f, jnp.arange(3), mask)

    for f, mask in ((jnp.zeros((3, 2)), jnp.ones(3)), (jnp.ones((3, 2)), jnp.zeros(3))):
        found, slope = jax.value_and_grad(value)(f, mask)
        assert float(found) == 0
        assert np.isfinite(slope).all()
    alike = chameleon.contrast(jnp.zeros((4, 2)), jnp.array([0, 0, 1, 1]))
    assert float(alike) == pytest.approx(np.log(3), rel=1e-5)


@functools.cache
def attacked(contrastive_epochs=60, head_epochs=10):
    """(G, X) of the attack."""
    g = Variables(*NET.init(jax.random.key(0)))
    data = scaling.poison(CLEAN, WANTED, per_batch=4, epochs=head_epochs, rate=0.2, gamma=1.0)
    made = chameleon.chameleon(
        LOSS,
        optax.sgd(1.0),
        features,
        batch_size=16,
        contrastive_epochs=contrastive_epochs,
        contrastive_rate=0.1,
        temperature=0.5,
    )
    view = View(g, jnp.int32(1), jnp.int32(0), None, data)
    sent, _, _ = jax.jit(made.update)(view, (), jax.random.key(4))
    return g, jax.tree.map(lambda a, s: a + s[0], g, sent)


def test_the_head_alone_moves_in_the_second_stage():
    _, without = attacked(head_epochs=0)
    g, x = attacked()
    for name in ("kernel", "bias"):
        np.testing.assert_array_equal(without.params["head"][name], g.params["head"][name])
        assert (without.params["dense"][name] != g.params["dense"][name]).any()
        np.testing.assert_array_equal(x.params["dense"][name], without.params["dense"][name])
        assert (x.params["head"][name] != g.params["head"][name]).any()


def test_backdoored_features_leave_their_class_for_the_wanted_one():
    def nearness(variables, label):
        """Mean cosine of the backdoored inputs to a class."""
        mine, theirs = (
            np.asarray(features(variables, jnp.asarray(x)))
            for x in (WANTED["x"], CLEAN["x"][CLEAN["y"] == label])
        )
        unit = lambda f: f / np.linalg.norm(f, axis=1, keepdims=True)
        return float((unit(mine) @ unit(theirs).T).mean())

    g, x = attacked()
    assert nearness(g, 0) > nearness(g, 2)
    assert nearness(x, 2) > nearness(g, 2) + 0.2
    assert nearness(x, 0) < nearness(g, 0) - 0.2
    wanted = jax.tree.map(jnp.asarray, WANTED)
    assert float(LOSS(x, wanted, jax.random.key(0))[1][1]["accuracy"]) == 1.0


def test_bad_settings_are_refused(key):
    make = functools.partial(
        chameleon.chameleon,
        LOSS,
        optax.sgd(1.0),
        features,
        batch_size=4,
        contrastive_epochs=1,
        contrastive_rate=0.1,
    )
    for name in ("contrastive_epochs", "contrastive_rate", "temperature"):
        with pytest.raises(errors.ConfigError, match=f"{name} must be .*, got 0"):
            make(**{name: 0})
    params = {"dense": jnp.ones(2), "head": {"kernel": jnp.ones(2)}}
    with pytest.raises(errors.ConfigError, match="below 'had', but none of dense, head/kernel"):
        chameleon.part(params, "had")
    with pytest.raises(errors.ConfigError, match="but all of head/kernel lie there"):
        chameleon.part({"head": {"kernel": jnp.ones(2)}}, "head")
    chosen = chameleon.part(params, "head")
    assert chosen["dense"].sum() == 0
    assert chosen["head"]["kernel"].sum() == 2
