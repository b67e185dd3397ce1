import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fl_jax.core import errors, tree
from fl_jax.federated import client, round, sampling, scaffold
from fl_jax.federated.aggregators import mean, median
from fl_jax.federated.attacks import constrain_and_scale as scaling
from fl_jax.federated.attacks import untargeted
from fl_jax.federated.attacks.base import Attack
from fl_jax.train import cohort
from fl_jax.train import mesh as meshes
from fl_jax.train.state import Variables
from tests.federated import toy

RATE = 0.1
LOCAL = client.make(toy.LOSS, optax.sgd(RATE), epochs=2, batch_size=150)
STILL = client.make(toy.LOSS, optax.sgd(0.0), epochs=2, batch_size=150)
None_key = jax.random.key(9)


def by_hand(rounds, sampler, rule="mean", forged=None):
    """Algorithm 1 in plain Python, whole shares as batches; (x, c, every c_i).

    Compromised participants send `forged(x, c)` = (y - x, c_i' - c_i) and keep their variate.
    """
    people, g = toy.people(), toy.variables(jax.random.key(0))
    grad = jax.jit(jax.grad(lambda p, batch: toy.LOSS(Variables(p, {}), batch, None_key)[0]))
    x, c = g.params, tree.zeros_like(g.params)
    each = [tree.zeros_like(g.params) for _ in range(toy.PARTICIPANTS)]
    for r in range(rounds):
        moves, changes = [], []
        chosen = sampler.draw(None_key, r)
        for i, bad in zip(chosen.ids.tolist(), chosen.malicious.tolist(), strict=True):
            if bad:
                moved, change = forged(x, c)
                moves.append(moved)
                changes.append(change)
                continue
            own = slice(int(people.start[i]), int(people.start[i] + people.size[i]))
            batch = jax.tree.map(lambda a, own=own: a[own], people.examples)
            y = x
            for _ in range(2):
                slope = tree.add(tree.sub(grad(y, batch), each[i]), c)
                y = tree.sub(y, tree.scale(RATE, slope))
            new = tree.add(tree.sub(each[i], c), tree.scale(1 / (2 * RATE), tree.sub(x, y)))
            moves.append(tree.sub(y, x))
            changes.append(tree.sub(new, each[i]))
            each[i] = new
        middle = {"mean": np.mean, "median": np.median}[rule]
        one = lambda updates, middle=middle: jax.tree.map(
            lambda *a: jnp.asarray(middle(np.stack(a), axis=0), jnp.float32), *updates
        )
        x = tree.add(x, one(moves))
        c = tree.add(c, tree.scale(len(moves) / toy.PARTICIPANTS, one(changes)))
    return x, c, each


def every_third(key, r, compromised=()):
    """A fixed schedule: participants 0, 3, 6, 9, then 1, 4, 7, 10, ..."""
    del key
    chosen = sampling.everyone(4).draw(None_key, 0)
    ids = 3 * jnp.arange(4) + jnp.asarray(r, jnp.int32) % 3
    malicious = jnp.isin(ids, jnp.asarray(compromised, jnp.int32))
    return chosen._replace(ids=ids, malicious=malicious)


thirds = sampling.Sampler(every_third, toy.PARTICIPANTS)
BAD = (3, 4)  # one of them in the first and in the second of three rounds
attacked = sampling.Sampler(
    functools.partial(every_third, compromised=BAD), toy.PARTICIPANTS, attackers=1
)


def run(rounds, data=round.RoundData(toy.people()), **parts):
    usual = {"client": LOCAL, "rate": RATE, "sampler": thirds}
    made = scaffold.make(**(usual | parts))
    first = made.init(toy.variables(jax.random.key(0)))
    return jax.jit(round.repeat(made.step, rounds))(first, data, None_key)


def close(got, want, **tolerance):
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, **tolerance)


def same(state, want):
    x, c, each = want
    tolerance = {"rtol": 1e-4, "atol": 1e-5}
    close(state.variables.params, {"model": x, "control": c}, **tolerance)
    close(state.clients, jax.tree.map(lambda *a: np.stack(a), *each), **tolerance)


def test_it_equals_the_algorithm_in_plain_python():
    state, info = run(5)
    assert info.loss.shape == (5, 4)
    same(state, by_hand(5, thirds))


def test_plans_and_devices_give_the_same():
    mesh = meshes.MeshConfig(clients=4).make(jax.devices()[:4])
    state, _ = run(3)
    for parts in ({"plan": cohort.Plan("vmap")}, {"mesh": mesh}):
        other, _ = run(3, **parts)
        close(
            (other.variables, other.clients), (state.variables, state.clients), rtol=1e-4, atol=1e-6
        )


def forged(x, c):
    """A message that depends on what the attacker sees."""
    return tree.scale(-0.5, x), tree.add(tree.scale(2.0, c), jax.tree.map(jnp.ones_like, c))


def forger():
    def send(view, state, key):
        moved, change = forged(view.variables.params["model"], view.variables.params["control"])
        sent = scaffold.message(Variables(moved, {}), change)
        return jax.tree.map(lambda a: a[None], sent), state, ()

    return Attack(lambda variables: (), send)


@pytest.mark.parametrize("rule", ["mean", "median"])
def test_forged_messages_count_as_in_plain_python(rule):
    rules = {"mean": mean.mean(weight="uniform"), "median": median.median()}
    state, info = run(4, sampler=attacked, attack=forger(), aggregator=rules[rule])
    assert info.malicious.sum(axis=1).tolist() == [1, 1, 0, 1]
    same(state, by_hand(4, attacked, rule, forged))


WANTED = {"x": toy.examples(1)["x"][:4], "y": np.full(4, 2, np.int32)}
POISON = scaling.poison(toy.examples(2, 20), WANTED, per_batch=2, epochs=3, rate=0.1, gamma=4.0)
REPLACE = scaling.constrain_and_scale(toy.LOSS, optax.sgd(1.0), batch_size=4)


@pytest.mark.parametrize("agrees", [False, True])
def test_replacement_puts_the_malicious_model_in_place(agrees):
    """gamma = m, the others stand still: x = X; c moves by what was sent for it, over n."""
    change = scaffold.as_trained(LOCAL, RATE) if agrees else None
    state, info = run(
        1,
        round.RoundData(toy.people(), POISON),
        client=STILL,
        sampler=attacked,
        attack=scaffold.of_model(REPLACE, change),
    )
    g = toy.variables(jax.random.key(0))
    moved = float(tree.norm(tree.sub(state.variables.params["model"], g.params)))
    assert moved == pytest.approx(float(info.attack.local_norm[0]), rel=1e-4)
    assert moved > 0.1
    value, _ = toy.LOSS(
        scaffold.model(state.variables), jax.tree.map(jnp.asarray, WANTED), None_key
    )
    assert float(value) == pytest.approx(float(info.attack.backdoor_loss[0]), rel=1e-4)
    # y - x = 4 (X - G) in K = 2 steps: c_i' - c_i = -4 (X - G) / (2 rate), a twelfth of it in c.
    step = tree.sub(state.variables.params["model"], g.params)
    factor = -4 / (2 * RATE) / toy.PARTICIPANTS if agrees else 0.0
    close(state.variables.params["control"], tree.scale(factor, step), rtol=1e-4, atol=1e-6)
    assert all((a[BAD[0]] == 0).all() for a in jax.tree.leaves(state.clients))


def test_an_attack_on_the_others_messages_forges_both_parts():
    ipm = untargeted.inner_product(attackers=1, epsilon=2.0)
    inspect = lambda seen: seen.updates
    _, info = run(2, sampler=attacked, attack=ipm, inspect=inspect)
    bad = np.asarray(info.malicious[1])
    for leaf in jax.tree.leaves(info.inspection):
        leaf = np.asarray(leaf[1])
        np.testing.assert_allclose(leaf[bad][0], -2 * leaf[~bad].mean(0), rtol=1e-4, atol=1e-6)
    only = scaffold.of_model(ipm)
    _, info = run(2, sampler=attacked, attack=only, inspect=inspect)
    sent = info.inspection.params["control"]
    assert all((np.asarray(a[1])[bad] == 0).all() for a in jax.tree.leaves(sent))


def test_lost_and_broken_messages_leave_no_trace():
    def sample(key, r):
        chosen = every_third(key, r)
        return chosen._replace(active=chosen.ids != 3)

    people = toy.people()
    start = int(people.start[6])
    x = people.examples["x"].at[start].set(jnp.nan)
    people.examples["x"] = x
    state, info = run(
        1, round.RoundData(people), sampler=sampling.Sampler(sample, toy.PARTICIPANTS)
    )
    assert info.finite[0].tolist() == [True, True, False, True]
    for leaf in jax.tree.leaves(state.clients):
        assert (leaf[jnp.array([3, 6])] == 0).all()
        assert (leaf[jnp.array([0, 9])] != 0).any()
    assert bool(tree.all_finite(state))


def test_the_second_round_compiles_nothing_and_works_in_place():
    made = scaffold.make(client=LOCAL, rate=RATE, sampler=thirds)
    step = jax.jit(made.step, donate_argnums=0)
    state = made.init(toy.variables(jax.random.key(0)))
    for _ in range(3):
        state, _ = step(state, round.RoundData(toy.people()), None_key)
    assert step._cache_size() == 1
    same(state, by_hand(3, thirds))


def test_control_variates_that_do_not_fit_are_refused_with_the_bytes():
    made = scaffold.make(client=LOCAL, rate=RATE, sampler=thirds, memory=700)
    with pytest.raises(errors.ConfigError, match="takes 720 bytes, but `memory` allows 700"):
        made.init(toy.variables(jax.random.key(0)))


def test_weights_and_attacks_on_bare_models_are_refused():
    with pytest.raises(errors.ConfigError, match="weighs every participant the same"):
        scaffold.make(client=LOCAL, rate=RATE, sampler=thirds, aggregator=mean.mean())

    def bare(view, state, key):
        return jax.tree.map(lambda a: a[None], scaffold.model(view.variables)), state, ()

    with pytest.raises(errors.ConfigError, match=r"control/bias should be \(1, 3\) and is absent"):
        run(1, sampler=attacked, attack=Attack(lambda variables: (), bare))
