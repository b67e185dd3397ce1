import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.train import schedule


def rates(config, steps, peak=2.0):
    made = schedule.make(config, peak)
    return np.array([float(made(s)) for s in range(steps)])


def test_constant_after_a_linear_rise():
    np.testing.assert_allclose(rates(schedule.Schedule(warmup=4), 6), [0, 0.5, 1, 1.5, 2, 2])


def test_linear_and_cosine_end_at_their_final_share():
    for kind in ("linear", "cosine"):
        got = rates(schedule.Schedule(kind, warmup=2, decay_steps=10, final=0.1), 20)
        np.testing.assert_allclose([got[2], got[12], got[19]], [2.0, 0.2, 0.2], rtol=1e-6)
        assert np.all(np.diff(got[2:13]) < 0)


def test_rsqrt_falls_with_the_root_of_the_step():
    got = rates(schedule.Schedule("rsqrt", warmup=4), 40)
    np.testing.assert_allclose(got[4], 2.0)
    np.testing.assert_allclose(got[16], 2.0 * (4 / 16) ** 0.5, rtol=1e-6)
    whole = 2.0 / np.maximum(np.arange(10), 1) ** 0.5
    np.testing.assert_allclose(rates(schedule.Schedule("rsqrt"), 10), whole, rtol=1e-6)


def test_step_drops():
    got = rates(schedule.Schedule("step", every=3, factor=0.5), 7)
    np.testing.assert_allclose(got, [2, 2, 2, 1, 1, 1, 0.5])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"warmup": -5}, "warmup must be 0 or more"),
        ({"kind": "cosine", "decay_steps": 9, "final": -0.5}, "final must be 0 or more"),
        ({"kind": "step", "every": 3, "factor": 0.0}, "factor of a step schedule"),
    ],
)
def test_numbers_that_optax_reads_as_another_schedule_are_refused(changes, said):
    with pytest.raises(errors.ConfigError, match=said):
        schedule.make(schedule.Schedule(**changes), 1.0)


def test_an_unknown_kind_is_refused():
    with pytest.raises(errors.ConfigError, match="unknown schedule 'cosin'"):
        schedule.make(schedule.Schedule("cosin"), 1.0)
    with pytest.raises(errors.ConfigError, match="decay_steps"):
        schedule.make(schedule.Schedule("linear"), 1.0)
