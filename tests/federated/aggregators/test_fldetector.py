import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.federated.aggregators import fldetector, restart
from fl_jax.federated.aggregators.base import Stacked
from tests.federated.aggregators import reference

N, D, WINDOW, ROUNDS = 12, 8, 3, 12
DRAW = np.random.default_rng(0)
HALVES = DRAW.normal(size=(N, D, D)) / 4
HESSIANS = HALVES @ HALVES.transpose(0, 2, 1) + np.eye(D)
CENTRES = DRAW.normal(size=(N, D))
RULE = fldetector.fldetector(participants=N, window=WINDOW)


def cut(x):
    return {"w": jnp.asarray(x[..., :5], jnp.float32), "b": jnp.asarray(x[..., 5:], jnp.float32)}


def joined(x):
    return np.concatenate([x["w"], x["b"]], axis=-1)


@jax.jit
def step(model, state, updates, weights, ids, key):
    state = RULE.begin(model, state, key)
    return RULE.update(Stacked(updates, weights, ids), state)


def train(attack, cohort, absent=()):
    """Rounds on quadratics: (records for the reference, aggregates, suspicion of everyone)."""
    draw = np.random.default_rng(1)
    model, state = np.zeros(D), RULE.init(cut(np.zeros(D)))
    records, aggregates = [], []
    for t in range(ROUNDS):
        ids = draw.permutation(N)[:cohort]
        gradients = np.einsum("nij,nj->ni", HESSIANS[ids], model - CENTRES[ids])
        updates = attack(-0.2 * gradients + 0.002 * draw.normal(size=(cohort, D)), ids, t, draw)
        there = np.array([(t, i) not in absent for i in ids], np.float32)
        sent = cut(updates * there[:, None])
        out, state = step(
            cut(model), state, sent, jnp.asarray(there), jnp.asarray(ids), jax.random.key(t)
        )
        aggregates.append(joined(out))
        records.append((model, updates, ids, there > 0))
        model = model + aggregates[-1]
    return records, np.array(aggregates), np.asarray(fldetector.suspicion(state))


def honest(updates, ids, t, draw):
    return updates


def erratic(updates, ids, t, draw):
    """Participants 4 and 9 send something else in every round."""
    wild = np.isin(ids, [4, 9])
    return np.where(wild[:, None], draw.normal(size=updates.shape), updates)


@pytest.mark.parametrize(("cohort", "absent"), [(N, ()), (7, ((5, 3), (8, 4), (9, 4)))])
def test_rounds_are_those_of_the_slow_twin(cohort, absent):
    records, aggregates, suspicion = train(erratic, cohort, absent)
    expected, scores = reference.fldetector(records, aggregates, N, WINDOW)
    np.testing.assert_allclose(suspicion, scores, rtol=0.02, atol=2e-3)
    np.testing.assert_allclose(aggregates, expected, rtol=1e-4, atol=1e-5)


def test_who_is_erratic_is_left_out_and_nobody_else():
    records, aggregates, suspicion = train(erratic, N)
    assert set(np.argsort(suspicion)[-2:]) == {4, 9}
    _, updates, ids, _ = records[-1]
    benign = updates[~np.isin(ids, [4, 9])].mean(0)
    np.testing.assert_allclose(aggregates[-1], benign, rtol=1e-4, atol=1e-6)


def test_with_a_restart_who_is_erratic_is_out_for_good():
    rule = restart.restart(RULE, participants=N, found=lambda state: state.found)
    draw, first = np.random.default_rng(1), np.full(D, 0.5)
    model, state, sent = first, rule.init(cut(first)), []

    @jax.jit
    def step(model, state, updates, key):
        state = rule.begin(model, state, key)
        return rule.update(Stacked(updates, jnp.ones(N), jnp.arange(N)), state)

    for t in range(ROUNDS):
        gradients = np.einsum("nij,nj->ni", HESSIANS, model - CENTRES)
        updates = erratic(-0.2 * gradients, np.arange(N), t, draw)
        out, state = step(cut(model), state, cut(updates), jax.random.key(t))
        sent.append((model, updates, joined(out)))
        model = model + joined(out)
    np.testing.assert_array_equal(np.flatnonzero(state.out), [4, 9])
    back = next(t for t in range(ROUNDS) if np.allclose(sent[t][0] + sent[t][2], first, atol=1e-5))
    for _, updates, out in sent[back + 1 : back + 1 + WINDOW]:
        np.testing.assert_allclose(out, np.delete(updates, [4, 9], 0).mean(0), rtol=1e-4, atol=1e-6)
    assert WINDOW < back < ROUNDS - 2


def test_until_the_window_is_full_it_is_the_mean():
    records, aggregates, _ = train(erratic, N)
    for (_, updates, _, _), aggregate in list(zip(records, aggregates, strict=True))[: WINDOW + 1]:
        np.testing.assert_allclose(aggregate, updates.mean(0), rtol=1e-4, atol=1e-6)


def test_order_does_not_matter_and_the_absent_leave_no_trace():
    state = RULE.init(cut(np.zeros(D)))
    updates, ids = DRAW.normal(size=(6, D)), np.array([3, 8, 0, 11, 5, 7])
    for t in range(WINDOW + 3):
        model = cut(np.full(D, 0.1 * t))
        key, there = jax.random.key(t), np.array([1, 1, 1, 0, 1, 1], np.float32)
        sent = updates * there[:, None]
        turn = np.roll(np.arange(6), 2)
        one = step(model, state, cut(sent), jnp.asarray(there), jnp.asarray(ids), key)
        other = step(
            model, state, cut(sent[turn]), jnp.asarray(there[turn]), jnp.asarray(ids[turn]), key
        )
        np.testing.assert_allclose(joined(one[0]), joined(other[0]), rtol=1e-5, atol=1e-6)
        state = one[1]
        updates = updates + 0.1 * DRAW.normal(size=updates.shape)
    assert int(state.sent[11]) == -1
    assert not np.asarray(state.scores[11]).any()
    assert step._cache_size() <= 3  # cohorts of 12, 7 and 6: a round compiles nothing
    gone = step(model, state, cut(0 * sent), jnp.zeros(6), jnp.asarray(ids), key)
    assert not joined(gone[0]).any()


def test_the_score_is_the_distance_to_the_own_prediction():
    state = RULE.init(cut(np.zeros(D)))
    updates, model = DRAW.normal(size=(N, D)), np.zeros(D)
    for t in range(WINDOW + 1):  # steps of equal length: B = 0, the last update is predicted
        _, state = step(
            cut(model), state, cut(updates), jnp.ones(N), jnp.arange(N), jax.random.key(t)
        )
        model = model + 0.1
    state = RULE.begin(cut(model), state, jax.random.key(9))
    others = Stacked(cut(updates), jnp.ones(N).at[jnp.array([2, 5])].set(0.0), jnp.arange(N))
    jitted = jax.jit(jax.value_and_grad(lambda update: RULE.score(update, others, state)))
    score = lambda x: float(jitted(cut(x))[0])
    assert np.linalg.norm(joined(jitted(cut(updates[3]))[1])) == pytest.approx(1.0, rel=1e-3)
    assert score(updates[2]) < 1e-3
    assert score(updates[5]) < 1e-3
    away = min(np.linalg.norm(updates[3] - updates[i]) for i in (2, 5))
    assert score(updates[3]) == pytest.approx(away, rel=1e-3)


def test_bad_input_is_refused():
    with pytest.raises(
        errors.ConfigError, match="FLDetector must be a whole number of 1 or more, got 0"
    ):
        fldetector.fldetector(participants=5, window=0)
    state = RULE.init(cut(np.zeros(D)))
    with pytest.raises(errors.ConfigError, match=r"5 updates come without ids; .* all 12"):
        RULE.update(Stacked(cut(np.zeros((5, D))), jnp.ones(5)), state)
