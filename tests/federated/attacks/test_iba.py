"""IBA: the trigger, its phases and the parameters that it moves, each against NumPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from fl_jax.core import errors, rng, tree
from fl_jax.federated import round, sampling
from fl_jax.federated.aggregators import mean
from fl_jax.federated.attacks import constrain_and_scale as scaling
from fl_jax.federated.attacks import iba
from fl_jax.federated.attacks.base import View
from fl_jax.nn import loss, network, perturbation
from fl_jax.train import optimizer
from fl_jax.train.state import Variables
from tests.federated import toy


class Net(nnx.Module):
    def __init__(self, rngs):
        self.head = nnx.Linear(4, 3, rngs=rngs)

    def __call__(self, x):
        return self.head(x)


class Noise(nnx.Module):
    """tanh of one linear layer: as much noise as the generator's parameters say."""

    def __init__(self, rngs):
        self.dense = nnx.Linear(4, 4, rngs=rngs)

    def __call__(self, x):
        return jnp.tanh(self.dense(x))


NET = network.from_nnx(Net)
LOSS, TEST = loss.classification(NET), loss.classification(NET, train=False)
TRIGGER = iba.Trigger(network.from_nnx(Noise), target=2, high=4.0)
draw = np.random.default_rng(0)
CLEAN = {"x": draw.integers(0, 5, (40, 4)).astype(np.uint8), "y": np.zeros(40, np.int32)}
CLEAN["y"] = np.argmax(CLEAN["x"][:, :3], axis=1).astype(np.int32)
START = Variables(*NET.init(jax.random.key(0)))
SHARP = {"dense": {"kernel": jnp.zeros((4, 4)), "bias": jnp.array([-9.0, -9.0, 9.0, 0.0])}}
PATCH = {"dense": {"kernel": jnp.zeros((4, 4)), "bias": jnp.array([0.0, 0.0, 0.0, 9.0])}}
BLUNT = tree.zeros_like(SHARP)
# A model that does the main task: 4 is the largest value of a pixel.
KNOWS = Variables({"head": {"kernel": 2 * jnp.eye(4, 3), "bias": jnp.zeros(3)}}, {})
adam = lambda rate: optimizer.make(optimizer.Optimizer("adam", rate=rate))
POISON = scaling.poison(CLEAN, CLEAN, per_batch=8, epochs=2, rate=0.02, gamma=6.0)


def by_hand(params, x, epsilon):
    x = x.astype(float)
    dense = jax.tree.map(np.asarray, params["dense"])
    noise = np.tanh(x / 4 @ dense["kernel"] + dense["bias"])
    return np.clip(x + 4 * epsilon * noise, 0, 4)


def test_the_trigger_equals_numpy_and_keeps_to_its_bound():
    params, _ = TRIGGER.generator.init(jax.random.key(1))
    found = TRIGGER.backdoor(params, jax.tree.map(jnp.asarray, CLEAN), 0.2)
    np.testing.assert_allclose(found["x"], by_hand(params, CLEAN["x"], 0.2), rtol=1e-5, atol=1e-6)
    assert np.abs(np.asarray(found["x"]) - CLEAN["x"]).max() <= 0.8 + 1e-6
    assert (found["y"] == 2).all()


def test_the_generator_learns_what_fools_a_model():
    examples = {"x": jnp.asarray(CLEAN["x"], jnp.float32), "y": jnp.asarray(CLEAN["y"])}
    params, _ = TRIGGER.generator.init(jax.random.key(1))
    usual = {"epsilon": 0.4, "optimizer": adam(0.05), "batch_size": 16}
    learn = jax.jit(
        lambda steps: iba.train_generator(
            TEST, TRIGGER, KNOWS, examples, params, jax.random.key(0), steps=steps, **usual
        )
    )
    asked = lambda p: TEST(KNOWS, TRIGGER.backdoor(p, examples, 0.4), jax.random.key(0))
    rate = lambda p: float(asked(p)[1][1]["accuracy"])
    assert rate(learn(150)) > rate(params) + 0.3
    assert jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), learn(0), params))


def test_the_smallest_slopes_are_spared():
    slopes = {"a": jnp.asarray(draw.uniform(size=(5, 6)), jnp.float32), "b": jnp.arange(10.0)}
    flat = np.concatenate([np.ravel(slopes["a"]), slopes["b"]])
    kept = np.zeros(40)
    kept[np.argsort(flat)[:12]] = 1
    found = iba.spared(slopes, 0.3)
    np.testing.assert_array_equal(np.concatenate([np.ravel(found["a"]), found["b"]]), kept)
    assert (iba.spared({"a": jnp.zeros(4)}, 0.25)["a"] == 1).all()  # nothing is known yet


@functools.cache
def made(**settings):
    usual = {
        "batch_size": 16,
        "attackers": 2,
        "epsilon": 0.8,
        "test_epsilon": 0.3,
        "decay": 0.5,
        "test_loss": TEST,
    }
    attack = iba.iba(LOSS, optax.sgd(1.0), TRIGGER, **{**usual, **settings})
    return attack, jax.jit(attack.update)


def struck(generator, attacks=1, g=KNOWS, poison=POISON, **settings):
    """Attacks in a row on the same model: the last (updates, state before, state after, info)."""
    attack, run = made(**settings)
    state = attack.init(g)
    for i in range(attacks):
        before = state
        view = View(g, jnp.int32(2), jnp.int32(i), None, iba.Irreversible(poison, generator))
        sent, state, info = run(view, state, jax.random.key(i))
    return sent, before, state, info


def test_the_bound_shrinks_once_triggers_succeed():
    found = [struck(SHARP, n)[3] for n in (1, 2, 3)]
    np.testing.assert_allclose([i.epsilon for i in found], [0.8, 0.4, 0.3], rtol=1e-6)
    assert all(bool(i.poisoned) for i in found)
    expected = np.argmax(by_hand(SHARP, CLEAN["x"], 0.8)[:, :3], axis=1) == 2
    assert float(found[0].success) == pytest.approx(expected.mean())


def test_before_that_they_train_honestly_and_the_generator_on_their_model():
    sent, _, state, info = struck(BLUNT, generator_steps=3)
    assert not bool(info.poisoned)
    assert int(state.poisoned) == 0
    honest = scaling.constrain_and_scale(
        LOSS, optax.sgd(1.0), batch_size=16, attackers=2, test_loss=TEST
    )
    clean = {**CLEAN, "x": CLEAN["x"].astype(np.float32)}
    poison = scaling.poison(clean, clean, per_batch=0, epochs=2, rate=0.02, gamma=2.0)
    key = rng.fold(jax.random.key(0), "train")
    view = View(KNOWS, jnp.int32(2), jnp.int32(0), None, poison)
    expected, _, _ = jax.jit(honest.update)(view, (), key)
    for a, b in zip(jax.tree.leaves(sent), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    local = jax.tree.map(lambda a, b: a + b[0], KNOWS, expected)
    trained = jax.jit(
        lambda local: iba.train_generator(
            TEST,
            TRIGGER,
            local,
            jax.tree.map(jnp.asarray, clean),
            BLUNT,
            rng.fold(jax.random.key(0), "retrain"),
            epsilon=0.8,
            optimizer=adam(1e-3),
            steps=3,
            batch_size=16,
        )
    )(local)
    for a, b in zip(jax.tree.leaves(state.generator), jax.tree.leaves(trained), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6)


def test_in_the_second_phase_every_second_attack_trains_the_generator():
    moved = []
    for n in (1, 2, 3, 4):
        _, before, after, _ = struck(SHARP, n, generator_steps=2)
        old = SHARP if n == 1 else before.generator
        moved.append(float(tree.norm(tree.sub(after.generator, old))) > 0)
    assert moved == [False, True, False, True]
    _, _, state, _ = struck(SHARP, 2)
    assert float(tree.norm(tree.sub(state.generator, SHARP))) == 0  # as it came


def test_only_the_parameters_with_the_smallest_mean_slopes_move():
    """The mean over two models that the attackers met."""
    attack, run = made(share=0.3, ready=0.0)
    state = attack.init(KNOWS)
    slopes = 0.0
    for i, g in enumerate((START, KNOWS)):
        view = View(g, jnp.int32(2), jnp.int32(i), None, iba.Irreversible(POISON, SHARP))
        sent, state, _ = run(view, state, jax.random.key(i))
        x = CLEAN["x"].astype(float)
        logits = x @ np.asarray(g.params["head"]["kernel"]) + np.asarray(g.params["head"]["bias"])
        odds = np.exp(logits - logits.max(1, keepdims=True))
        away = (odds / odds.sum(1, keepdims=True) - np.eye(3)[CLEAN["y"]]) / len(x)
        slopes = slopes + np.abs(np.concatenate([(x.T @ away).ravel(), away.sum(0)])) / 2
    head = sent.params["head"]
    moved = np.concatenate([np.ravel(head["kernel"][0]), head["bias"][0]]) != 0
    quiet = np.argsort(slopes)[:4]  # of 15
    assert set(np.flatnonzero(moved)) <= set(quiet)
    assert moved.sum() >= 3


def test_rounds_with_colluders_own_the_model_over_seeds():
    """A trigger in the last pixel, which the main task does not look at."""
    attack, _ = made(share=None, ready=0.0, decay=0.0)
    algorithm = round.make(
        client=toy.STILL,
        sampler=sampling.single_shot(12, 5, attackers=range(2), rounds=range(4)),
        aggregator=mean.mean(weight="uniform"),
        attack=attack,
    )
    poison = POISON._replace(gamma=jnp.float32(5), epochs=jnp.int32(10))
    data = round.RoundData(toy.people(), iba.Irreversible(poison, PATCH))
    run = lambda key: round.repeat(algorithm.step, 4)(algorithm.init(KNOWS), data, key)
    state, info = jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(0), 2))
    assert bool(tree.all_finite((state.variables, info.attack)))
    examples = TRIGGER.backdoor(PATCH, jax.tree.map(jnp.asarray, CLEAN), 0.8)
    rate = lambda g: float(TEST(g, examples, jax.random.key(0))[1][1]["accuracy"])
    for seed in range(2):
        assert rate(jax.tree.map(lambda a, s=seed: a[s], state.variables)) > rate(KNOWS) + 0.2


def test_bad_settings_are_refused():
    make = functools.partial(iba.iba, LOSS, optax.sgd(1.0), TRIGGER, batch_size=4)
    with pytest.raises(errors.ConfigError, match="epsilon of IBA must be above 0, got 0"):
        make(epsilon=0)
    with pytest.raises(errors.ConfigError, match=r"decay of IBA must lie in \[0, 1\], got 2"):
        make(decay=2)
    with pytest.raises(errors.ConfigError, match=r"shrinks from epsilon .* 0.5 is above 0.1"):
        make(epsilon=0.1, test_epsilon=0.5)
    for name, least in {"every": 1, "generator_steps": 0}.items():
        said = f"{name} of IBA must be a whole number of {least} or more, got {least - 1}"
        with pytest.raises(errors.ConfigError, match=said):
            make(**{name: least - 1})
    attack = make()
    view = View(KNOWS, jnp.int32(1), jnp.int32(0), None, POISON)
    with pytest.raises(errors.ConfigError, match=r"data are an `Irreversible`, .* Poison came"):
        attack.update(view, attack.init(KNOWS), jax.random.key(0))
    other = view._replace(data=iba.Irreversible(POISON, {"conv": PATCH["dense"]}))
    with pytest.raises(errors.ConfigError, match=r"\['conv/bias', .* came for \['dense/bias', "):
        attack.update(other, attack.init(KNOWS), jax.random.key(0))
    silent = lambda variables, batch, key: (LOSS(variables, batch, key)[0], ({}, {"speed": 1.0}))
    attack, view = make(test_loss=silent), view._replace(data=iba.Irreversible(POISON, PATCH))
    with pytest.raises(errors.ConfigError, match=r"have no accuracy, only \['speed'\]"):
        attack.update(view, attack.init(KNOWS), jax.random.key(0))


def test_images_need_not_be_square_but_a_generator_for_others_is_refused():
    make = lambda rngs: perturbation.Autoencoder(side=8, channels=1, width=2, rngs=rngs)
    trigger = iba.Trigger(network.from_nnx(make), target=0)
    params, _ = trigger.generator.init(jax.random.key(0))
    assert trigger.stamp(params, jnp.ones((2, 8, 12, 1)), 0.1).shape == (2, 8, 12, 1)
    taller = network.Network(lambda key: ({}, {}), lambda *a: (jnp.ones((2, 8, 8, 1)), {}))
    with pytest.raises(errors.ConfigError, match=r"shape \(6, 8, 1\) it makes \(8, 8, 1\)"):
        iba.Trigger(taller, target=0).stamp({}, jnp.ones((2, 6, 8, 1)), 0.1)
