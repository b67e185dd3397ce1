"""The steps on equations whose solution is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from algorithmic.disks import bdf, ndf

END = 2.0
FAST = 1e6  # of the stiff equation [1/s]


def prothero_robinson(rate, x):
    """x' = rate (cos t - x) - sin t, whose solution is cos t; t is the second component."""
    value, t = x[:, 0], x[:, 1]
    return jnp.stack([rate * (jnp.cos(t) - value) - jnp.sin(t), jnp.ones_like(t)], axis=1)


def jacobian(rate, x):
    t, zero = x[:, 1], jnp.zeros_like(rate)
    row = jnp.stack([-rate, -rate * jnp.sin(t) - jnp.cos(t)], axis=1)
    return jnp.stack([row, jnp.stack([zero, zero], axis=1)], axis=1)


@jax.enable_x64(True)
def solve(rtol):
    options = bdf.Options(rtol=rtol, atol=rtol, first_step=1e-6)
    start = jnp.asarray([[1.0, 0.0]])
    rate, times = jnp.full(1, FAST), jnp.asarray([0.7, END])
    run = jax.jit(
        lambda rate: bdf.integrate(
            prothero_robinson, jacobian, rate, start, times, 1, options=options
        )
    )
    out = jax.device_get(run(rate))
    assert out.status == bdf.OK
    return np.abs(out.x[0, :, 0] - np.cos([0.7, END])).max(), out.statistics


def test_stiff_steps_keep_their_tolerance_and_pass_the_fast_scale_over():
    """An explicit method would need a million steps; the error falls with the tolerance."""
    loose, few = solve(1e-4)
    tight, more = solve(1e-8)
    assert loose < 1e-3 and tight < 1e-7
    assert few.steps < 80 and more.steps < 400
    assert few.steps < more.steps <= more.attempts


@jax.enable_x64(True)
def test_the_polynomial_goes_through_the_values_that_it_was_made_of():
    rng = np.random.default_rng(0)
    order, h, t = 4, 0.3, 1.7
    values = rng.normal(size=(order + 1, 3))  # at t, t - h, t - 2h, ...
    rows, layer = [values[0]], values
    for _ in range(order):
        layer = layer[:-1] - layer[1:]
        rows.append(layer[0])
    differences = np.zeros((1, ndf.ROWS, 3))
    differences[0, : order + 1] = rows
    one = lambda value: jnp.asarray([value])
    solution = ndf.Polynomial(jnp.asarray(differences), one(t), one(h), one(order))
    times = t - h * np.arange(order + 1)
    np.testing.assert_allclose(solution.at(jnp.asarray(times))[0], values, atol=1e-12)


@jax.enable_x64(True)
@pytest.mark.parametrize("factor", [0.3, 1.0, 2.5])
def test_differences_of_another_step_are_those_of_the_same_polynomial(factor):
    rng = np.random.default_rng(1)
    order, h = 3, 0.5
    coefficients = rng.normal(size=order + 1)

    def table(h):
        values = np.polyval(coefficients, -h * np.arange(order + 1))
        rows = [values[0]]
        for _ in range(order):
            values = values[:-1] - values[1:]
            rows.append(values[0])
        return np.array(rows)

    differences = np.zeros((1, ndf.ROWS, 1))
    differences[0, : order + 1, 0] = table(h)
    one = lambda value: jnp.asarray([value])
    found = ndf._rescale(jnp.asarray(differences), jnp.full(1, order, jnp.int32), one(factor))
    np.testing.assert_allclose(found[0, : order + 1, 0], table(factor * h), rtol=1e-10)


def test_a_step_that_is_too_inexact_is_not_taken():
    with jax.enable_x64(True):
        rate = jnp.full(1, FAST)
        equations = ndf.Equations(prothero_robinson, jacobian, 1e-8, 1e-8)
        x = jnp.asarray([[0.0, 0.0]])  # far from the slow solution
        h = 1e-3  # a thousand times the fast scale
        zero = jnp.zeros(1)
        state = ndf.State(
            t=zero,
            h=jnp.full(1, h),
            order=jnp.ones(1, jnp.int32),
            equal=jnp.zeros(1, jnp.int32),
            differences=ndf.begin(equations, rate, x, h),
            lu=jnp.zeros((1, 2, 2)),
            permutation=jnp.zeros((1, 2), jnp.int32),
            c=zero,
            rate=zero,
        )
        new, report = ndf.attempt(equations, rate, state, jnp.ones(1, bool))
        assert not report.accepted and report.factored and new.t == 0 and new.h < h
        np.testing.assert_array_equal(new.differences[:, 0], state.differences[:, 0])


@pytest.mark.parametrize("count", [1, 16, 179])
def test_the_permutation_is_that_of_the_pivots(count):
    with jax.enable_x64(True):
        matrix = jnp.asarray(np.random.default_rng(2).normal(size=(3, count, count)))
        _, pivots, wanted = jax.lax.linalg.lu(matrix)
        np.testing.assert_array_equal(jax.jit(ndf.permutation)(pivots), wanted)
