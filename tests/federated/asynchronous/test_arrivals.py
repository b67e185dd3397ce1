import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.federated.asynchronous import arrivals, delays
from tests.federated.asynchronous import events

KEY = jax.random.key(3)


def observed(steps=60, delay=None, key=KEY, n=20, **settings):
    made = arrivals.arrivals(n, delay=delay or delays.exponential(), **settings)
    return made, jax.jit(lambda key: arrivals.observe(made, key, steps))(key)


@pytest.mark.parametrize(
    "settings",
    [
        {"concurrency": 6, "buffer": 1},
        {"concurrency": 4, "buffer": 9},
        {"concurrency": 20, "buffer": 5},
        {"concurrency": 8, "buffer": 3, "separation": 6},
    ],
    ids=str,
)
def test_it_equals_a_heap_of_events_in_plain_python(settings):
    delay = delays.half_normal(np.linspace(0.1, 3.0, 20))
    made, found = observed(25, delay, **settings)
    clock = np.cumsum(np.asarray(found.elapsed, np.float64))
    for step, (taken, now) in enumerate(events.buffers(made, delay, KEY, 25)):
        assert found.cohort.ids[step].tolist() == [i for i, _ in taken]
        assert found.age[step].tolist() == [step - began for _, began in taken]
        assert clock[step] == pytest.approx(now, rel=1e-4)


@pytest.mark.parametrize(
    ("buffer", "delay"), [(1, delays.half_normal()), (7, delays.exponential())], ids=["1", "7"]
)
def test_ages_add_up_to_those_who_fly_over_a_step(buffer, delay):
    """M - 1 places fly over every step, whatever the delays, and each grows older by one: the mean
    age is (M - 1) / K but for what has not arrived at the end."""
    steps, m = 400, 10
    made = arrivals.arrivals(40, concurrency=m, buffer=buffer, delay=delay)

    @jax.jit
    def run(key):
        one = lambda flights, step: made.draw(flights, jax.random.fold_in(key, step), step)[::-1]
        return jax.lax.scan(one, made.init(), jnp.arange(steps))

    flights, found = run(KEY)
    flying = flights.ids < 40
    rest = jnp.sum(jnp.where(flying, steps - flights.began, 0))
    assert int(found.age.sum() + rest) == (m - 1) * steps
    assert float(found.age.mean()) == pytest.approx((m - 1) / buffer, rel=0.05)


def test_memoryless_delays_give_geometric_ages():
    """K = 1: the next arrival is any of M with the same chance."""
    m, _, found = 5, *observed(6000, concurrency=5, buffer=1)
    ages = np.asarray(found.age[100:, 0])
    for age in range(6):
        share = (1 - 1 / m) ** age / m
        assert np.mean(ages == age) == pytest.approx(share, abs=4 * (share / 5900) ** 0.5)


def test_equal_delays_and_a_buffer_of_all_are_synchronous():
    for n in (12, 30):
        _, found = observed(9, delays.constant(2.0), n=n, concurrency=12, buffer=12)
        assert (found.age == 0).all()
        assert found.elapsed.tolist() == [2.0] * 9
    # Two buffers arrive at one instant: the second is a step old, and all begin after both.
    _, found = observed(8, delays.constant(2.0), concurrency=8, buffer=4)
    assert found.elapsed.tolist() == [2.0, 0.0] * 4
    assert found.age.tolist() == [[0] * 4, [1] * 4] * 4


def test_nobody_is_in_a_buffer_twice_or_sooner_than_its_separation():
    _, found = observed(200, concurrency=9, buffer=4, separation=5)
    ids = np.asarray(found.cohort.ids)
    assert all(len(set(row)) == 4 for row in ids.tolist())
    for who in range(20):
        steps = np.flatnonzero((ids == who).any(axis=1))
        assert len(steps) > 10 and np.diff(steps).min() >= 5
        assert len(steps) <= -(-200 // 5)


def test_the_key_decides_and_marks_follow_the_compromised():
    made = arrivals.arrivals(
        20, concurrency=6, buffer=3, delay=delays.exponential(), attackers=[2, 5]
    )
    observe = jax.jit(lambda key: arrivals.observe(made, key, 30))
    found, again, other = observe(KEY), observe(KEY), observe(jax.random.key(4))
    assert (again.cohort.ids == found.cohort.ids).all() and (again.age == found.age).all()
    assert (other.cohort.ids != found.cohort.ids).any()
    assert (found.cohort.malicious == jnp.isin(found.cohort.ids, jnp.array([2, 5]))).all()
    assert found.cohort.active.all()
    assert made.attackers == 2


def test_fast_participants_arrive_fresh():
    scale = np.ones(20)
    scale[7] = 1e-3
    _, found = observed(400, delays.half_normal(scale), concurrency=10, buffer=5)
    ages, ids = np.asarray(found.age), np.asarray(found.cohort.ids)
    assert (ids == 7).sum() > 50
    assert ages[ids == 7].mean() < 0.1 < 1.0 < ages[ids != 7].mean()


def test_attackers_of_a_single_shot_have_the_first_places_in_their_steps_alone():
    plain = arrivals.arrivals(20, concurrency=6, buffer=3, delay=delays.exponential())
    made = arrivals.single_shot(plain, attackers=[4, 9], steps=[1, 8], age=3)
    found = jax.jit(lambda key: arrivals.observe(made, key, 30))(KEY)
    bad = np.asarray(found.cohort.malicious)
    assert np.flatnonzero(bad.any(axis=1)).tolist() == [1, 8]
    assert found.cohort.ids[8, :2].tolist() == found.cohort.ids[1, :2].tolist() == [4, 9]
    assert found.age[1, :2].tolist() == [1, 1] and found.age[8, :2].tolist() == [3, 3]
    assert not np.isin(np.asarray(found.cohort.ids)[~bad], [4, 9]).any()
    assert made.attackers == 2


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"concurrency": 21, "buffer": 1}, "M = 21 of n = 20 participants cannot"),
        ({"concurrency": 5, "buffer": 21}, "takes 21 participants, but there are n = 20"),
        ({"concurrency": 5, "buffer": 7, "separation": 3}, "takes 21 participants"),
        ({"concurrency": 0, "buffer": 1}, "concurrency .* whole number of 1 or more"),
        ({"concurrency": 2, "buffer": 0}, "buffer .* whole number of 1 or more"),
        ({"concurrency": 2, "buffer": 1, "attackers": [20]}, "attacker 20 is not one of"),
        ({"concurrency": 2, "buffer": 1, "delay": delays.constant([1.0])}, "for 1 participants"),
    ],
)
def test_what_cannot_work_is_one_sentence(settings, said):
    with pytest.raises(errors.ConfigError, match=said):
        arrivals.arrivals(20, **({"delay": delays.constant()} | settings))


def test_a_single_shot_that_cannot_work_is_one_sentence():
    plain = arrivals.arrivals(6, concurrency=5, buffer=2, delay=delays.constant())
    for attackers, said in (
        ([], "have to fit a buffer"),
        ([1, 1], "each named once"),
        ([0, 1, 2], "3 attackers"),
        ([0, 1], "4 benign participants do not fill M = 5"),
    ):
        with pytest.raises(errors.ConfigError, match=said):
            arrivals.single_shot(plain, attackers=attackers, steps=[0], age=0)
    with pytest.raises(errors.ConfigError, match="age of the attackers"):
        arrivals.single_shot(plain, attackers=[0], steps=[0], age=-1)
