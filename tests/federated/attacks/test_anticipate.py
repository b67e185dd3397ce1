"""Anticipate against a NumPy twin, finite differences and the rounds that really come."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fl_jax.core import errors, tree
from fl_jax.federated import client, population, round, sampling
from fl_jax.federated.aggregators import mean
from fl_jax.federated.attacks import anticipate
from fl_jax.federated.attacks import constrain_and_scale as scaling
from fl_jax.federated.attacks.base import Attack, View
from tests.federated import toy

RATE, M, COUNT, GAMMA = 0.3, 5.0, 2, 3.0
ONE = {k: v[:1] for k, v in toy.examples(5).items()}  # held by everybody: no draw matters
WANTED = {"x": toy.examples(1)["x"][:4], "y": np.full(4, 2, np.int32)}
BATCH = jax.tree.map(jnp.asarray, toy.examples(7, 6))
POISON = scaling.poison(ONE, WANTED, per_batch=2, epochs=3, rate=0.1, gamma=GAMMA)


def view_of(g, data=POISON, count=COUNT):
    return View(g, jnp.int32(count), jnp.int32(0), None, data)


def foreseen(g, rounds=3, local_steps=2, cohort=M, **view):
    return anticipate.ahead(
        toy.LOSS,
        view_of(g, **view),
        benign=optax.sgd(RATE),
        cohort=cohort,
        rounds=rounds,
        local_steps=local_steps,
        batch_size=4,
    )


def twin(g, x, rounds=3, local_steps=2):
    """The same in NumPy, float64: mean loss on BATCH; models are (5, 3) with the bias last."""

    def softmax(w, batch):
        logits = batch["x"].astype(np.float64) @ w[:-1] + w[-1]
        odds = np.exp(logits - logits.max(1, keepdims=True))
        return odds / odds.sum(1, keepdims=True)

    def loss(w):
        return -np.log(softmax(w, BATCH_)[np.arange(len(BATCH_["y"])), BATCH_["y"]]).mean()

    def move(w):
        local = w
        for _ in range(local_steps):
            wrong = softmax(local, ONE) - np.eye(3)[ONE["y"]]
            inputs = np.append(ONE["x"].astype(np.float64), [[1.0]], axis=1)
            local = local - RATE * inputs.T @ wrong / len(wrong)
        return local - w

    theta = g + GAMMA / M * (x - g) + (M - COUNT) / M * move(g)
    values = [loss(theta)]
    for _ in range(rounds - 1):
        theta = theta + move(theta)
        values.append(loss(theta))
    return np.mean(values)


BATCH_ = jax.tree.map(np.asarray, BATCH)


def flat(variables):
    params = variables.params
    return np.append(params["kernel"], params["bias"][None], axis=0).astype(np.float64)


def test_value_and_gradient_equal_numpy_and_finite_differences(key):
    g, x = toy.variables(key), toy.variables(jax.random.key(8))
    loss = foreseen(g)

    def of(params):
        return loss(x._replace(params=params), BATCH, key)[0]

    value, slope = jax.jit(jax.value_and_grad(of))(x.params)
    assert float(value) == pytest.approx(twin(flat(g), flat(x)), rel=1e-5)
    numeric = np.zeros_like(flat(x))
    for i in np.ndindex(numeric.shape):
        step = np.zeros_like(numeric)
        step[i] = 1e-5
        up, down = twin(flat(g), flat(x) + step), twin(flat(g), flat(x) - step)
        numeric[i] = (up - down) / 2e-5
    np.testing.assert_allclose(flat(x._replace(params=slope)), numeric, rtol=1e-4, atol=1e-6)


def test_what_is_foreseen_is_what_comes(key):
    """Everybody holds the attacker's examples: two real rounds are theta_1 and theta_2."""
    participants = int(M)
    examples = {k: np.repeat(v, participants, axis=0) for k, v in ONE.items()}
    people = population.make(examples, [np.array([i]) for i in range(participants)])
    g, x = toy.variables(key), toy.variables(jax.random.key(8))

    def send(view, state, key):
        update = tree.scale(GAMMA / COUNT, tree.sub(x, view.variables))
        return jax.tree.map(lambda a: jnp.stack([a] * COUNT), update), state, ()

    def first_round(key, r):
        chosen = sampling.everyone(participants).draw(key, r)
        return chosen._replace(malicious=(jnp.arange(participants) < COUNT) & (r == 0))

    made = round.make(
        client=client.make(toy.LOSS, optax.sgd(RATE), epochs=2, batch_size=4),
        sampler=sampling.Sampler(first_round, participants, COUNT),
        aggregator=mean.mean(weight="uniform"),
        attack=Attack(lambda variables: (), send, COUNT),
    )
    state, losses, step = made.init(g), [], jax.jit(made.step)
    for _ in range(2):
        state, _ = step(state, round.RoundData(people), key)
        losses.append(float(toy.LOSS(state.variables, BATCH, key)[0]))
    for rounds in (1, 2):
        value, _ = jax.jit(foreseen(g, rounds))(x, BATCH, key)
        assert float(value) == pytest.approx(np.mean(losses[:rounds]), rel=1e-5)


def test_alone_and_one_round_ahead_it_is_constrain_and_scale(key):
    """m = k and gamma = m: theta_1 is X."""
    g = toy.variables(key)
    data = scaling.poison(
        toy.examples(2, 12), WANTED, per_batch=2, epochs=2, rate=0.1, gamma=1.0, alpha=0.9
    )
    plain = scaling.constrain_and_scale(toy.LOSS, optax.sgd(1.0), batch_size=4)
    seeing = anticipate.anticipate(
        toy.LOSS, optax.sgd(1.0), benign=optax.sgd(RATE), cohort=1, rounds=1, batch_size=4
    )
    view = view_of(g, data, count=1)
    one, other = (jax.jit(a.update)(view, (), key)[0] for a in (plain, seeing))
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_it_does_better_some_rounds_ahead_than_training_for_now(key):
    g = toy.variables(key)
    data = scaling.poison(toy.examples(2, 12), WANTED, per_batch=4, epochs=40, rate=0.3, gamma=M)
    # Both in a ball around G: with no bound, whoever trains longer wins.
    made = {"batch_size": 4, "attackers": COUNT, "radius": 1.0, "drop_every": 10}
    plain = scaling.constrain_and_scale(toy.LOSS, optax.sgd(1.0), **made)
    seeing = anticipate.anticipate(
        toy.LOSS, optax.sgd(1.0), benign=optax.sgd(RATE), cohort=M, rounds=4, local_steps=2, **made
    )
    batch, keys = jax.tree.map(jnp.asarray, WANTED), jax.random.split(jax.random.key(3), 50)
    loss = jax.jit(jax.vmap(foreseen(g, 4, data=data), (None, None, 0)))
    later = []
    for attack in (plain, seeing):
        sent, _, info = jax.jit(attack.update)(view_of(g, data), (), key)
        x = tree.add(g, tree.scale(COUNT / info.gamma, jax.tree.map(lambda a: a[0], sent)))
        later.append(float(loss(x, batch, keys)[0].mean()))
    assert later[1] < 0.995 * later[0]


def test_a_bound_that_the_attacker_knows_is_foreseen(key):
    g, x = toy.variables(key), toy.variables(jax.random.key(8))
    bound = 0.1 * float(tree.norm(tree.sub(x, g)))
    bounded = foreseen(g, data=POISON._replace(bound=jnp.float32(bound)))
    smaller = foreseen(g, data=POISON._replace(gamma=jnp.float32(0.1 * COUNT)))
    values = [float(jax.jit(f)(x, BATCH, key)[0]) for f in (bounded, smaller)]
    assert values[0] == pytest.approx(values[1], rel=1e-5)
    slope = jax.jit(jax.grad(lambda p: bounded(g._replace(params=p), BATCH, key)[0]))
    at_g = slope(g.params)
    assert bool(tree.all_finite(at_g))


@pytest.mark.parametrize("name", ["cohort", "rounds", "local_steps"])
def test_numbers_below_one_are_refused(name):
    numbers = {"cohort": 5, "rounds": 2, "local_steps": 1} | {name: 0}
    with pytest.raises(errors.ConfigError, match=f"{name} must be .*, got 0"):
        anticipate.anticipate(
            toy.LOSS, optax.sgd(1.0), benign=optax.sgd(0.1), batch_size=4, **numbers
        )
