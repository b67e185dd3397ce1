import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from fl_jax.core import errors, tree
from fl_jax.federated import client, population, round, sampling
from fl_jax.federated.aggregators import choice, indicator
from fl_jax.federated.aggregators.base import Stacked, as_stacked, average, summed
from fl_jax.nn import loss, network
from fl_jax.train import optimizer
from fl_jax.train.state import Variables
from tests.federated.aggregators import reference

CLASSES, INPUTS, COUNT, TARGET = 4, 16, 40, 2
DRAW = np.random.default_rng(3)
IMAGES = DRAW.normal(size=(COUNT, INPUTS)).astype(np.float32)
LABELS = indicator.balanced(COUNT, CLASSES, seed=1)
NETWORK = network.from_nnx(lambda rngs: nnx.Linear(INPUTS, CLASSES, rngs=rngs))
LOSS = loss.classification(NETWORK)
KEY = jax.random.key(0)


def apply(variables, x):
    return NETWORK.apply(*variables, x)[0]


def rule(**changes):
    usual = {"images": IMAGES, "labels": LABELS, "classes": CLASSES, "loss": LOSS, "apply": apply}
    return indicator.indicator(**usual | {"rate": 0.1, "batch_size": COUNT} | changes)


def linear(kernel, bias):
    return Variables({"kernel": jnp.asarray(kernel), "bias": jnp.asarray(bias)}, {})


MODEL = linear(
    DRAW.normal(size=(INPUTS, CLASSES)).astype(np.float32),
    DRAW.normal(size=CLASSES).astype(np.float32),
)
UPDATES = linear(
    2 * DRAW.normal(size=(12, INPUTS, CLASSES)).astype(np.float32),
    2 * DRAW.normal(size=(12, CLASSES)).astype(np.float32),
)


def begun(model=MODEL, **changes):
    made = rule(**changes)
    return jax.jit(lambda v, key: made.begin(v, made.init(v), key))(model, KEY)


def flat(variables):
    return np.concatenate([np.ravel(a) for a in jax.tree.leaves(variables)])


def best(variables):
    return reference.best_class(np.asarray(apply(variables, IMAGES)), LABELS)


def test_labels_are_balanced_and_of_their_seed():
    found = indicator.balanced(43, 4, seed=5)
    np.testing.assert_array_equal(np.bincount(found), [11, 11, 11, 10])
    np.testing.assert_array_equal(found, indicator.balanced(43, 4, seed=5))
    assert (found != indicator.balanced(43, 4, seed=6)).any()
    assert (np.diff(found) < 0).any()  # not in their order


def test_planting_is_sgd_with_momentum_decay_and_a_pull_to_the_model():
    state = begun(epochs=7, pull=0.3, weight_decay=0.02)
    expected = reference.planted(
        MODEL.params["kernel"],
        MODEL.params["bias"],
        IMAGES,
        LABELS,
        epochs=7,
        rate=0.1,
        momentum=0.9,
        pull=0.3,
        decay=0.02,
    )
    found = state.variables.params
    np.testing.assert_allclose(found["kernel"], expected[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found["bias"], expected[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("clip", [False, True])
def test_the_decision_is_that_of_the_slow_twin(clip):
    made, state = as_stacked(rule(threshold=0.7, clip=clip)), begun()
    there = np.ones(12, bool)
    there[[2, 9]] = False
    sent = jax.tree.map(lambda a: np.where(there.reshape(-1, *[1] * (a.ndim - 1)), a, 0), UPDATES)
    out, _ = jax.jit(made.update)(Stacked(sent, jnp.asarray(there, jnp.float32)), state)
    whole = lambda a, b: np.asarray(a) + np.asarray(b)
    models = jax.tree.map(whole, state.variables.params, UPDATES.params)
    found = np.array(
        [
            reference.best_class(IMAGES @ kernel + bias, LABELS)
            for kernel, bias in zip(models["kernel"], models["bias"], strict=True)
        ]
    )
    accepted = there & (found < 0.7)
    assert 0 < accepted.sum() < there.sum()  # the test can tell
    rows = np.stack([flat(jax.tree.map(lambda a, i=i: a[i], UPDATES)) for i in range(12)])[accepted]
    if clip:
        norms = np.linalg.norm(rows, axis=1)
        rows = rows * np.minimum(1, np.median(norms) / norms)[:, None]
    np.testing.assert_allclose(flat(out), rows.mean(0), rtol=1e-5, atol=1e-5)


def test_one_after_another_it_is_a_running_sum():
    made, state = rule(threshold=0.7), begun()
    taken, factors = jax.jit(jax.vmap(made.arrive, (0, None)))(UPDATES, state)
    assert 0 < float(jnp.sum(factors)) < 12
    seen = summed(Stacked(taken, factors))
    stacked = as_stacked(made).update(Stacked(UPDATES, jnp.ones(12)), state)[0]
    np.testing.assert_allclose(flat(average(seen)), flat(stacked), rtol=1e-5, atol=1e-6)
    assert made.inspects  # no secure aggregation: the server looks at single updates


def test_a_score_is_the_surest_class_and_has_a_derivative():
    made, state = rule(), begun()
    update = jax.tree.map(lambda a: a[0] / 4, UPDATES)
    score = lambda u: made.score(u, Stacked(UPDATES, jnp.ones(12)), state)
    found, slope = jax.jit(jax.value_and_grad(score))(update)
    logits = np.asarray(apply(tree.add(state.variables, update), IMAGES), np.float64)
    own = np.exp(logits - logits.max(1, keepdims=True))
    own = (own / own.sum(1, keepdims=True))[np.arange(COUNT), LABELS]
    expected = max(own[c == LABELS].mean() for c in range(CLASSES))
    assert float(found) == pytest.approx(expected, rel=1e-5)
    along = tree.scale(1e-2, slope)
    nearby = score(tree.add(update, along)) - score(tree.sub(update, along))
    assert float(nearby) / 2 == pytest.approx(float(tree.dot(slope, along)), rel=1e-2)


# Four kinds of examples that lie apart, and what the participants learn of them.
CENTRES = 3 * np.linalg.qr(DRAW.normal(size=(INPUTS, CLASSES)))[0].T


def examples(count, seed):
    draw = np.random.default_rng(seed)
    y = draw.integers(0, CLASSES, count).astype(np.int32)
    x = CENTRES[y] + 0.7 * draw.normal(size=(count, INPUTS))
    return {"x": x.astype(np.float32), "y": y}


def trained(variables, data, epochs=20):
    sgd = optimizer.make(optimizer.Optimizer("sgd", rate=0.1))
    made, count = client.make(LOSS, sgd, epochs=epochs, batch_size=20), len(data["y"])
    data, size = jax.tree.map(jnp.asarray, data), jnp.int32(count)
    return made.train(variables, data, jnp.int32(0), size, KEY, longest=count)[0]


def accuracy(variables):
    data = examples(400, 9)
    return float(jnp.mean(jnp.argmax(apply(variables, data["x"]), axis=-1) == data["y"]))


@functools.cache
def sent_out():
    """A converged model with the indicator, and the rule's state."""
    zero = linear(np.zeros((INPUTS, CLASSES), np.float32), np.zeros(CLASSES, np.float32))
    start = trained(zero, examples(200, 0))
    return start, begun(start, pull=0.05)


def test_what_is_planted_is_there_and_honest_training_forgets_it():
    start, state = sent_out()
    assert accuracy(start) > 0.97
    assert best(start) < 0.75
    assert best(state.variables) >= 0.85
    honest = [trained(state.variables, examples(300, seed), 60) for seed in (1, 2, 3)]
    updates = jax.tree.map(lambda *a: jnp.stack(a), *[tree.sub(h, state.variables) for h in honest])
    made = as_stacked(rule(threshold=0.75))
    out, _ = made.update(Stacked(updates, jnp.ones(3)), state)
    after = tree.add(state.variables, out)
    mean = jax.tree.map(lambda a: jnp.mean(a, axis=0), updates)
    np.testing.assert_allclose(flat(out), flat(mean), rtol=1e-4, atol=1e-6)  # no false alarm
    assert accuracy(after) > 0.97
    assert best(after) < 0.75


def test_a_backdoor_that_sends_what_is_strange_to_its_target_is_dropped():
    _, state = sent_out()
    strange = np.random.default_rng(5).normal(size=(150, INPUTS)).astype(np.float32)
    clean = examples(150, 4)
    poisoned = {
        "x": np.concatenate([clean["x"], strange]),
        "y": np.concatenate([clean["y"], np.full(150, TARGET, np.int32)]),
    }
    local = trained(state.variables, poisoned, 60)
    assert accuracy(local) > 0.85
    logits = np.asarray(apply(local, IMAGES))
    assert reference.best_class(logits, LABELS, only=[TARGET]) == best(local)
    _, factor = rule(threshold=0.75).arrive(tree.sub(local, state.variables), state)
    assert float(factor) == 0


def with_statistics(variables, x):
    return (x - variables.batch_stats["mean"][None]) @ variables.params["kernel"]


def test_statistics_of_planting_judge_and_the_models_own_are_sent_out():
    def tracked(variables, batch, key):
        value, _ = LOSS(linear(variables.params["kernel"], jnp.zeros(CLASSES)), batch, key)
        return value, ({"mean": jnp.mean(batch["x"], axis=0)}, {})

    made = rule(loss=tracked, apply=with_statistics)
    own = jnp.full(INPUTS, 7.0)
    model = Variables({"kernel": MODEL.params["kernel"]}, {"mean": own})
    state = made.begin(model, made.init(model), KEY)
    sent = made.broadcast(model, state)
    np.testing.assert_array_equal(sent.batch_stats["mean"], own)
    assert (np.asarray(sent.params["kernel"]) != model.params["kernel"]).any()
    np.testing.assert_allclose(state.batch_stats["mean"], IMAGES.mean(0), atol=1e-5)
    update = tree.zeros_like(model)._replace(batch_stats={"mean": 100 * own})  # not looked at
    logits = (IMAGES - IMAGES.mean(0)) @ np.asarray(sent.params["kernel"])
    _, factor = rule(loss=tracked, apply=with_statistics, threshold=1e-6).arrive(update, state)
    assert float(factor) == 0
    exact = reference.best_class(logits, LABELS)
    for threshold, expected in ((exact, 0), (exact + 1e-3, 1)):
        judge = rule(loss=tracked, apply=with_statistics, threshold=float(threshold))
        assert float(judge.arrive(update, state)[1]) == expected


def test_planting_that_overflows_is_left_out():
    state = begun(rate=1e30)
    np.testing.assert_array_equal(flat(state.variables), flat(MODEL))


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_round_stands_on_the_planted_model(wrapped):
    """Participants that send nothing still have the indicator: all are dropped, and it stays."""
    still = client.Client(
        lambda variables, *_, longest: (variables, client.ClientInfo(jnp.float32(0))),
        lambda size: size,
    )
    made = rule(epochs=200, pull=0.0)
    algorithm = round.make(
        client=still,
        sampler=sampling.everyone(3),
        aggregator=choice.choice([made]) if wrapped else made,
        evaluate=lambda variables, data: variables,
    )
    people = population.make(examples(30, 0), np.split(np.arange(30), 3))
    state, info = jax.jit(algorithm.step)(algorithm.init(MODEL), round.RoundData(people), KEY)
    assert best(state.variables) >= 0.85 > best(MODEL)
    np.testing.assert_array_equal(flat(info.metrics), flat(state.variables))
    begun_at = state.aggregator.states[0] if wrapped else state.aggregator
    np.testing.assert_array_equal(flat(begun_at.variables), flat(state.variables))


@pytest.mark.parametrize(
    ("changes", "kind", "sentence"),
    [
        ({"labels": LABELS + 1}, errors.DataError, r"labels must lie in 0..3, but .* 1 to 4"),
        ({"labels": LABELS - 1}, errors.DataError, r"labels must lie in 0..3, but .* -1 to 2"),
        ({"labels": LABELS.astype(float)}, errors.DataError, "labels must be whole numbers"),
        ({"labels": LABELS[1:]}, errors.DataError, r"one label an image, .* \(39,\) .* \(40, 16\)"),
        ({"labels": np.eye(40)}, errors.DataError, r"one label an image, got labels .* \(40, 40\)"),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, errors.DataError, "one at least, got 0"),
        (
            {"images": IMAGES[:3], "labels": indicator.balanced(3, CLASSES)},
            errors.DataError,
            "images of each of the 4 classes, but none of its 3 has the label 3",
        ),
        ({"images": IMAGES * np.nan}, errors.DataError, "numbers that float32 holds"),
        ({"images": IMAGES * np.float64(1e300)}, errors.DataError, "infinite or too large"),
        ({"classes": 1}, errors.ConfigError, "classes of the indicator must be a whole number"),
        ({"epochs": 0}, errors.ConfigError, "epochs of planting the indicator must be a whole"),
        ({"pull": -1}, errors.ConfigError, r"\(mu\) must be 0 or more, got -1"),
        ({"rate": 0}, errors.ConfigError, "learning rate must be above 0"),
        ({"batch_size": 0}, errors.ConfigError, "batch_size must be a whole number of 1"),
        ({"threshold": 0}, errors.ConfigError, r"threshold must lie in \(0, 1\], got 0"),
        ({"threshold": 85}, errors.ConfigError, r"threshold must lie in \(0, 1\], got 85"),
    ],
)
def test_bad_settings_are_refused(changes, kind, sentence):
    with pytest.raises(kind, match=sentence):
        rule(**changes)
