import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors, tree
from fl_jax.federated.aggregators import base, fldetector, mean, restart
from fl_jax.federated.aggregators.base import Stacked

N, D = 6, 4
FIRST = {"w": jnp.arange(4.0)}
DRAW = np.random.default_rng(0)
SENT = DRAW.normal(size=(9, N, D)).astype(np.float32)


def alarm(at, who):
    """The mean, which finds `who` in its round `at` and in every later one."""
    plain = base.as_stacked(mean.mean(weight="uniform"))

    def update(seen, count):
        return plain.update(seen, ())[0], count + 1

    names = jnp.isin(jnp.arange(N), jnp.asarray(who))
    rule = plain._replace(init=lambda variables: jnp.zeros((), jnp.int32), update=update)
    return rule, lambda count: (count > at) & names


def train(rule, rounds=9, ids=None, state=None, sent=SENT):
    """The models after each round, and the last state."""
    model, state = FIRST, rule.init(FIRST)

    @jax.jit
    def step(model, state, updates, key):
        state = rule.begin(model, state, key)
        out, state = rule.update(Stacked({"w": updates}, jnp.ones(len(updates)), ids), state)
        return tree.add(model, out), state

    models = []
    for t in range(rounds):
        model, state = step(model, state, jnp.asarray(sent[t]), jax.random.key(t))
        models.append(np.asarray(model["w"]))
    return np.array(models), state


def test_training_begins_again_without_whom_the_rule_found():
    rule, found = alarm(2, [1, 4])
    models, state = train(restart.restart(rule, participants=N, found=found))
    start, stay = np.asarray(FIRST["w"]), [0, 2, 3, 5]
    everyone, honest = SENT.mean(1), SENT[:, stay].mean(1)
    np.testing.assert_allclose(models[:2], start + np.cumsum(everyone[:2], axis=0), rtol=1e-5)
    np.testing.assert_allclose(models[2], start, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        models[3:], start + np.cumsum(honest[3:], axis=0), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_array_equal(state.out, np.isin(np.arange(N), [1, 4]))
    assert int(state.rule) == 6  # its memory began afresh, and the later finds began nothing


def test_it_leads_back_from_the_model_that_was_sent_out():
    rule, found = alarm(0, [1])
    by = lambda count: 5 + count.astype(jnp.float32)
    moved = rule._replace(broadcast=lambda v, count: jax.tree.map(lambda a: a + by(count), v))
    again, model = restart.restart(moved, participants=N, found=found), {"w": jnp.full(D, 9.0)}
    state = again.begin(model, again.init(FIRST), jax.random.key(0))
    sent = again.broadcast(model, state)
    np.testing.assert_allclose(sent["w"], np.full(D, 14.0))
    step, _ = again.update(Stacked({"w": jnp.asarray(SENT[0])}, jnp.ones(N)), state)
    np.testing.assert_allclose(tree.add(sent, step)["w"], FIRST["w"], atol=1e-6)
    assert restart.restart(rule, participants=N, found=found).broadcast is None


def test_nobody_found_is_the_rule_itself():
    rule, found = alarm(100, [1])
    models, _ = train(restart.restart(rule, participants=N, found=found))
    expected = np.asarray(FIRST["w"]) + np.cumsum(SENT.mean(1), axis=0)
    np.testing.assert_allclose(models, expected, rtol=1e-5, atol=1e-6)


def test_who_is_out_is_known_by_its_id():
    rule, found = alarm(0, [3])
    ids = jnp.array([5, 3, 0])
    models, _ = train(
        restart.restart(rule, participants=N, found=found), 3, ids, sent=SENT[:, :3] * 1e3
    )
    expected = 1e3 * np.cumsum(SENT[1:3, [0, 2]].mean(1), axis=0)
    np.testing.assert_allclose(models[1:] - models[0], expected, rtol=1e-5)
    lame = restart.restart(rule, participants=N, found=found)
    with pytest.raises(errors.ConfigError, match=r"3 updates come without ids; .* all 6"):
        train(lame, 1, sent=SENT[:, :3])


def test_the_score_is_the_rules_own():
    rule = fldetector.fldetector(participants=N, window=2)
    again = restart.restart(rule, participants=N, found=lambda state: state.found)
    state = again.begin(FIRST, again.init(FIRST), jax.random.key(0))
    others = Stacked({"w": jnp.asarray(SENT[0])}, jnp.ones(N), jnp.arange(N))
    expected = rule.score(FIRST, others, state.rule)
    assert float(again.score(FIRST, others, state)) == float(expected)
