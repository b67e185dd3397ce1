"""The queue; the steps are in test_ndf, chemistry in test_chemistry."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from algorithmic.disks import bdf

RATES = np.array([0.3, 2.0, 0.7, 40.0, 1.1, 5.0])
TIMES = np.array([0.5, 2.0])


def decay(rate, x):
    return -rate[:, None] * x


def jacobian(rate, x):
    return -rate[:, None, None] * jnp.eye(x.shape[1])[None]


@jax.enable_x64(True)
def solve(count, *, lanes, **options):
    options = bdf.Options(**{"rtol": 1e-7, "atol": 1e-12, "first_step": 1e-4} | options)
    run = jax.jit(
        lambda rates, count: bdf.integrate(
            decay,
            jacobian,
            rates,
            jnp.ones((len(RATES), 2)),
            jnp.asarray(TIMES),
            count,
            lanes=lanes,
            options=options,
        )
    )
    return jax.device_get(run(jnp.asarray(RATES), count))


@pytest.mark.parametrize("lanes", [1, 4, 8])
def test_every_cell_of_the_queue_is_solved_whatever_the_lanes(lanes):
    out = solve(len(RATES), lanes=lanes)
    assert (out.status == bdf.OK).all()
    exact = np.exp(-RATES[:, None] * TIMES)[:, :, None]
    np.testing.assert_allclose(out.x, np.broadcast_to(exact, out.x.shape), rtol=1e-4, atol=1e-10)
    np.testing.assert_array_equal(out.statistics.steps, solve(6, lanes=1).statistics.steps)


def test_cells_beyond_the_count_come_back_as_zeros():
    out = solve(4, lanes=3)
    assert out.status.tolist() == [bdf.OK] * 4 + [0, 0]
    assert (out.x[:4] > 0).any() and (out.x[4:] == 0).all()
    assert (out.statistics.attempts[:4] > 0).all() and (out.statistics.attempts[4:] == 0).all()


def test_a_cell_that_runs_out_of_steps_says_so_and_frees_its_lane():
    out = solve(len(RATES), lanes=2, max_steps=30)
    assert bdf.TOO_MANY_STEPS in out.status
    assert (out.status > 0).all() and out.statistics.attempts.max() == 30
