import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.federated import sampling


def draws(sampler, rounds=200):
    keys = jax.random.split(jax.random.key(0), rounds)
    return jax.vmap(sampler.draw)(keys, jnp.arange(rounds))


def test_uniform_draws_without_replacement_and_evenly():
    drawn = draws(sampling.uniform(20, 5, attackers=[2, 3]), 2000)
    assert all(len(set(ids)) == 5 for ids in drawn.ids.tolist())
    counts = np.bincount(np.ravel(drawn.ids), minlength=20)
    assert np.all(np.abs(counts - 500) < 5 * np.sqrt(500 * 0.75))
    np.testing.assert_array_equal(drawn.malicious, np.isin(drawn.ids, [2, 3]))
    assert bool(drawn.active.all())


def test_single_shot_attacks_in_its_rounds_only():
    drawn = draws(sampling.single_shot(20, 5, attackers=[7, 4], rounds=[3, 50]))
    attacked = np.asarray(drawn.malicious).any(1)
    np.testing.assert_array_equal(np.flatnonzero(attacked), [3, 50])
    np.testing.assert_array_equal(drawn.ids[3][:2], [7, 4])
    assert drawn.malicious[3].tolist() == [True, True, False, False, False]
    assert not np.isin(np.asarray(drawn.ids)[~attacked], [4, 7]).any()
    assert all(len(set(ids)) == 5 for ids in drawn.ids.tolist())


def test_poisson_draws_everyone_by_itself():
    participants, rate, rounds = 50, 0.2, 4000
    drawn = draws(sampling.poisson(participants, rate, attackers=[2, 3]), rounds)
    assert all(len(set(ids)) == drawn.ids.shape[1] for ids in drawn.ids.tolist())
    there = np.zeros((rounds, participants))
    np.put_along_axis(there, np.asarray(drawn.ids), np.asarray(drawn.active), axis=1)
    deviation = np.sqrt(rounds * rate * (1 - rate))
    assert np.all(np.abs(there.sum(0) - rounds * rate) < 5 * deviation)
    size = there.sum(1)
    assert size.var() == pytest.approx(participants * rate * (1 - rate), rel=0.1)
    both = (there[:, 0] * there[:, 1]).mean()  # independent; a fixed size would give 0.0367
    assert both == pytest.approx(rate**2, abs=5 * rate / np.sqrt(rounds))
    np.testing.assert_array_equal(drawn.malicious, np.isin(drawn.ids, [2, 3]))


@pytest.mark.parametrize(("participants", "blocks"), [(12, 3), (13, 4), (9, 9)])
def test_within_cyclic_blocks_turns_are_whole_cycles_apart(participants, blocks):
    cohort = participants // blocks
    for sampler in (
        sampling.cyclic(participants, cohort, blocks),
        sampling.cyclic_poisson(participants, 0.6, blocks),
    ):
        drawn = draws(sampler, 40 * blocks)
        assert all(len(set(ids)) == drawn.ids.shape[1] for ids in drawn.ids.tolist())
        turns = {}
        for t, (ids, active) in enumerate(zip(drawn.ids, drawn.active, strict=True)):
            for i in np.asarray(ids)[np.asarray(active)]:
                turns.setdefault(int(i), []).append(t)
        assert sorted(turns) == list(range(participants))
        for rounds in turns.values():
            assert len({t % blocks for t in rounds}) == 1
            assert np.diff(rounds).min() >= blocks


def test_within_a_block_everyone_is_drawn_as_often():
    participants, blocks, rounds = 22, 4, 8000  # blocks of 6, 6, 5 and 5
    drawn = draws(sampling.cyclic(participants, 3, blocks), rounds)
    counts = np.sort(np.bincount(np.ravel(drawn.ids), minlength=participants))
    np.testing.assert_allclose(counts[:12], 1000, rtol=0.1)
    np.testing.assert_allclose(counts[12:], 1200, rtol=0.1)
    assert bool(drawn.active.all())
    drawn = draws(sampling.cyclic_poisson(participants, 0.3, blocks), rounds)
    there = np.zeros((rounds, participants))
    np.put_along_axis(there, np.asarray(drawn.ids), np.asarray(drawn.active), axis=1)
    assert np.all(np.abs(there.sum(0) - 600) < 5 * np.sqrt(2000 * 0.3 * 0.7))
    a, b = np.flatnonzero(there[::4].any(0))[:2]
    assert (there[::4, a] * there[::4, b]).mean() == pytest.approx(0.09, abs=0.03)


def test_cyclic_blocks_are_drawn_once_for_all():
    blocks = lambda seed: draws(sampling.cyclic(12, 4, 3, seed=seed), 3).ids
    whole = [{*ids} for ids in blocks(0).tolist()]
    again = draws(sampling.cyclic(12, 4, 3), 6).ids.tolist()
    assert [{*ids} for ids in again] == whole * 2
    assert [{*ids} for ids in blocks(1).tolist()] != whole


def test_a_sampler_knows_how_many_attackers_a_round_can_hold():
    assert sampling.uniform(20, 5, attackers=range(3)).attackers == 3
    assert sampling.uniform(20, 5, attackers=range(9)).attackers == 5
    assert sampling.single_shot(20, 5, attackers=[7, 4], rounds=[3]).attackers == 2
    assert sampling.dropout(sampling.poisson(20, 0.5, attackers=[1]), 0.3).attackers == 1
    assert sampling.everyone(4).attackers == 0
    one_each = draws(sampling.cyclic(4, 1, 4), 4).ids.ravel().tolist()
    assert sampling.cyclic(4, 1, 4, attackers=one_each[:2]).attackers == 1
    assert sampling.cyclic(8, 4, 2, attackers=range(8)).attackers == 4
    assert sampling.cyclic_poisson(8, 0.5, 2, attackers=range(8)).attackers == 4
    drawn = draws(sampling.cyclic(9, 2, 3, attackers=[2, 3]), 60)
    np.testing.assert_array_equal(drawn.malicious, np.isin(drawn.ids, [2, 3]))


def test_everyone_is_everyone():
    drawn = sampling.everyone(4).draw(jax.random.key(0), 0)
    assert drawn.ids.tolist() == [0, 1, 2, 3] and not drawn.malicious.any()
    attacked = sampling.everyone(4, attackers=[2, 0])
    drawn = attacked.draw(jax.random.key(0), 0)
    assert drawn.malicious.tolist() == [True, False, True, False] and drawn.active.all()
    assert attacked.attackers == 2


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: sampling.uniform(5, 6), "m = 6 of n = 5"),
        (lambda: sampling.uniform(5, 2, attackers=[5]), r"attacker 5 is not one of .* 0\.\.4"),
        (
            lambda: sampling.single_shot(9, 2, attackers=[1, 2, 3], rounds=[0]),
            "3 attackers do not fit a round of m = 2",
        ),
        (
            lambda: sampling.single_shot(9, 2, attackers=[1, 1], rounds=[0]),
            r"named twice: \[1, 1\]",
        ),
        (lambda: sampling.poisson(9, 0.0), r"sampling rate must lie in \(0, 1\], got 0.0"),
        (lambda: sampling.dropout(sampling.everyone(3), 1.0), r"must lie in \[0, 1\), got 1.0"),
        (
            lambda: sampling.single_shot(5, 5, attackers=[1], rounds=[0]),
            "4 benign participants do not fill",
        ),
        (
            lambda: sampling.single_shot(9, 2, attackers=[1], rounds=[-1]),
            "round with attackers must be a whole number of 0 or more, got -1",
        ),
        (lambda: sampling.cyclic(10, 4, 3), "a block holds 3 of 10 participants"),
        (lambda: sampling.cyclic(10, 1, 11), "10 participants do not fill 11 blocks"),
        (lambda: sampling.cyclic(10, 1, 0), "blocks must be a whole number of 1 or more"),
        (lambda: sampling.cyclic(10, 1, 2, attackers=[10]), "attacker 10 is not one"),
        (lambda: sampling.cyclic_poisson(9, 1.5, 3), r"sampling rate must lie in \(0, 1\]"),
        (lambda: sampling.cyclic_poisson(9, 0.5, 10), "9 participants do not fill 10 blocks"),
        (lambda: sampling.everyone(3, attackers=[3]), r"attacker 3 is not one of .* 0\.\.2"),
        (lambda: sampling.everyone(0), "participants must be a whole number of 1 or more, got 0"),
    ],
)
def test_impossible_schedules_are_refused(call, said):
    with pytest.raises(errors.ConfigError, match=said):
        call()


def test_dropped_updates_follow_the_participant_and_the_rate(key):
    sampler = sampling.dropout(sampling.everyone(4000), 0.3)
    chosen = sampler.draw(key, 0)
    assert float(chosen.active.mean()) == pytest.approx(0.7, abs=0.03)
    assert (chosen.active == sampler.draw(key, 0).active).all()
    assert (chosen.active != sampler.draw(jax.random.key(1), 0).active).any()


@pytest.mark.parametrize("cohort", [2.5, 0, -1])
def test_a_cohort_is_a_whole_number(cohort):
    with pytest.raises(errors.ConfigError, match="cohort must be a whole number of 1 or more"):
        inspect.unwrap(sampling.uniform)(12, cohort)


def test_poisson_does_not_draw_those_whose_number_is_the_first_above_the_rate(monkeypatch):
    """0.3 in float32 is between two of the numbers that a uniform draw can be."""
    below = np.float32(np.floor(0.3 * 2**23) / 2**23)
    numbers = jnp.asarray([below - np.float32(2.0**-23), below, 0.9], jnp.float32)
    monkeypatch.setattr(jax.random, "uniform", lambda key, shape: numbers)
    drawn = sampling.poisson(3, 0.3).draw(jax.random.key(0), jnp.int32(0))
    assert drawn.active.tolist() == [True, False, False]
