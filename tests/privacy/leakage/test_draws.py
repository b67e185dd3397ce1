import numpy as np
import pytest

from fl_jax.core import errors
from privacy.leakage import draws, split

RNG = np.random.default_rng(0)
HOLDS = RNG.random(900) < 0.3
SPLIT = split.make(RNG.integers(0, 2, 900), HOLDS, 5, seed=0)


def made(**kind):
    options = {"batch": 10, "schedule": draws.every(5), "seed": 0, "record": (10, 2), "others": 3}
    return draws.Draws(SPLIT, **{**options, **kind})


def test_a_stream_visits_each_record_once_an_epoch_in_changing_order():
    stream = draws.Stream(np.arange(100, 107), "a", seed=0)
    epochs = [stream.take(7 * e, 7) for e in range(3)]
    for epoch in epochs:
        assert sorted(epoch) == list(range(100, 107))
    assert epochs[0].tolist() != epochs[1].tolist()
    np.testing.assert_array_equal(stream.take(3, 12), np.concatenate(epochs)[3:15])
    other = draws.Stream(np.arange(100, 107), "b", seed=0)
    assert other.take(0, 7).tolist() != epochs[0].tolist()


def test_rounds_do_not_depend_on_where_the_dispatch_begins():
    whole, late = made().rounds(0, 16), made().rounds(11, 5)
    for name, found in late.items():
        np.testing.assert_array_equal(found, whole[name][11:])


def test_every_participant_trains_on_its_own_records():
    found = made(adversary=0.2).rounds(0, 20)
    people = found["participants"]
    assert people.shape == (20, 5, 10)
    for t in range(20):
        pool = SPLIT.victim_property if t % 5 == 0 else SPLIT.victim_rest
        assert np.isin(people[t, 0], pool).all()
    assert (HOLDS[people[:, 1]].sum(axis=1) == 2).all()  # 0.2 of 10
    for k in (2, 3, 4):
        assert np.isin(people[:, k], SPLIT.shares[k - 1]).all()


def test_auxiliary_batches_have_the_shares_that_the_authors_give_them():
    plan = made()
    found = plan.rounds(10, 4)
    assert found["record"].tolist() == [True, False, True, False]
    assert plan.labels.tolist() == [1] * 8 + [0] * 8
    counts = HOLDS[found["auxiliary"][0]].sum(axis=1)
    assert counts.tolist() == [10, 10, 4, 4, 6, 6, 8, 8] + [0] * 8
    assert not np.isin(found["auxiliary"][0], SPLIT.victim_property).any()
    assert not HOLDS[found["pool"][0]].any()
    assert found["pool"].shape == (4, 32, 10)
    chosen = found["chosen"][0]
    assert chosen.shape == (16, 3)
    assert all(len(set(row)) == 3 for row in chosen.tolist())
    fresh = made(pool=0).rounds(10, 1)
    assert fresh["pool"].shape == (1, 48, 10)
    assert sorted(fresh["chosen"][0].ravel()) == list(range(48))  # each its own


def test_schedules_and_local_steps():
    np.testing.assert_allclose(
        made(schedule=draws.cycling((0.1, 0.5))).shares(20)[::5], [0.1, 0.5] * 2
    )
    np.testing.assert_allclose(
        made(schedule=draws.between(3, 6)).shares(8), [0, 0, 0, 1, 1, 1, 0, 0]
    )
    assert made(steps=4, schedule=draws.every(5, 0.5)).rounds(0, 1)["participants"].shape == (
        1,
        5,
        4,
        10,
    )
    held = HOLDS[made(steps=4, schedule=draws.every(5, 0.5)).rounds(0, 1)["participants"][0, 0]]
    assert (held.sum(axis=1) == 5).all()


def test_bad_input_is_one_sentence():
    with pytest.raises(errors.ConfigError, match="a pool of 2 innocent updates cannot give 3"):
        made(pool=2)
    with pytest.raises(errors.ConfigError, match=r"share lies in \(0, 1\]"):
        made(positive=(0.0,))
    for schedule in (
        lambda: draws.every(5, 1.5),
        lambda: draws.cycling((0.5, 0.0)),
        lambda: draws.between(1, 2, -0.1),
    ):
        with pytest.raises(errors.ConfigError, match=r"share lies in \(0, 1\]"):
            schedule()
    with pytest.raises(errors.DataError, match="no record to draw for mine"):
        draws.Stream(np.zeros(0, int), "mine", seed=0)


@pytest.mark.parametrize(("share", "batch", "count"), [(0.29, 100, 29), (1 / 49, 49, 1)])
def test_shares_are_whole_records_in_spite_of_rounding(share, batch, count):
    drawn = made(schedule=draws.every(1, share), batch=batch, positive=(share,))
    assert drawn.shares(1)[0] * batch == pytest.approx(count)
    found = drawn.rounds(10, 1)
    assert np.isin(found["auxiliary"][0, 0], SPLIT.auxiliary_property).sum() == count


def test_batches_that_would_be_labelled_with_a_property_that_none_has_are_refused():
    with pytest.raises(errors.ConfigError, match=r"0\.4 of a batch of 2 is no record"):
        made(batch=2)
    with pytest.raises(errors.ConfigError, match=r"0\.2 of a batch of 4 is no record"):
        made(batch=4, adversary=0.2)


def test_periods_and_cycles_that_are_none_are_refused():
    for make in (
        lambda: draws.every(0),
        lambda: draws.cycling((1.0,), 0),
        lambda: draws.cycling(()),
    ):
        with pytest.raises(errors.ConfigError):
            make()
