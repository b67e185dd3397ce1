"""Stiff integration of many cells: variable-order BDF, each cell with its own steps and order.

B lanes run side by side. A lane that has reached its end time takes the next cell of the queue,
so one slow cell costs its own steps and no one else's. The method is the quasi-constant step
NDF of Shampine & Reichelt (SIAM J. Sci. Comput. 18, 1997), orders 1 to 5, with a modified Newton
iteration: the factors of I - c J are kept while c stays within 30 % [Hindmarsh et al. 2005,
CVODE] and made anew, with J, when they are not or when the iteration does not converge.

Newton's updates leave every linear invariant of the network where it is, so elements and charge
drift by rounding only.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

ORDERS, ROWS, NEWTON = 5, 8, 4
_KAPPA = np.array([0, -0.1850, -1 / 9, -0.0823, -0.0415, 0])
_GAMMA = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, ORDERS + 1))])
_ALPHA = (1 - _KAPPA) * _GAMMA
_ERROR = _KAPPA * _GAMMA + 1 / np.arange(1, ORDERS + 2)
OK, TOO_MANY_STEPS, STEP_TOO_SMALL = 1, 2, 3  # how a cell ended; 0 has not


class Options(NamedTuple):
    """Tolerances and limits."""

    rtol: float = 1e-6
    atol: float = 1e-20  # of abundances per hydrogen nucleus
    first_step: float = 1.0  # [s]
    max_steps: int = 20_000  # attempts a cell


class Statistics(NamedTuple):
    """What a cell cost."""

    steps: Int[Array, " C"]  # accepted
    attempts: Int[Array, " C"]
    factorisations: Int[Array, " C"]
    evaluations: Int[Array, " C"]  # of dx/dt


class Output(NamedTuple):
    """Where the cells ended."""

    x: Float[Array, "C T N"]
    status: Int[Array, " C"]
    statistics: Statistics


class _Lanes(NamedTuple):
    cell: Int[Array, " B"]  # capacity of the queue where the lane is idle
    parameters: Any  # leaves (B, ...)
    t: Float[Array, " B"]
    h: Float[Array, " B"]
    order: Int[Array, " B"]
    equal: Int[Array, " B"]  # steps since h or order last changed
    differences: Float[Array, "B 8 N"]
    lu: Float[Array, "B N N"]  # turned: LAPACK's order in the loop's, else each step would copy it
    permutation: Int[Array, "B N"]
    c: Float[Array, " B"]  # of these factors; 0 asks for new ones
    rate: Float[Array, " B"]  # convergence rate of Newton with these factors
    x: Float[Array, "B T N"]
    counts: Int[Array, "B 4"]


def _rms(x):
    return jnp.sqrt(jnp.mean(x * x, axis=-1))


def _transition(order, factor, dtype):
    """(B, 6, 6): differences of step factor * h from those of step h, up to `order`."""
    i = np.arange(1, ORDERS + 1, dtype=np.int32)[:, None]
    j = np.arange(1, ORDERS + 1, dtype=np.int32)[None]

    def product(factor):  # (B,) -> (B, 6, 6)
        ratio = ((i - 1.0)[None] - factor[:, None, None] * (1.0 * j)[None]) / (1.0 * i)[None]
        inner = (i[None] <= order[:, None, None]) & (j[None] <= order[:, None, None])
        body = jnp.where(inner, ratio, 1.0)
        body = jnp.cumprod(body, axis=1)
        body = jnp.where(inner, body, (i == j)[None].astype(dtype))
        out = jnp.zeros((len(order), ORDERS + 1, ORDERS + 1), dtype).at[:, 1:, 1:].set(body)
        first = (np.arange(ORDERS + 1, dtype=np.int32)[None] <= order[:, None]).astype(dtype)
        return out.at[:, 0].set(first)

    return jnp.einsum("bij,bjk->bik", product(factor), product(jnp.ones_like(factor)))


def _rescale(differences, order, factor):
    matrix = _transition(order, factor, differences.dtype)
    head = jnp.einsum("bij,bin->bjn", matrix, differences[:, : ORDERS + 1])
    return jnp.concatenate([head, differences[:, ORDERS + 1 :]], axis=1)


def integrate(
    rhs,
    jacobian,
    parameters,
    start: Float[Array, "C N"],
    times: Float[Array, " T"],
    count,
    *,
    lanes: int = 1,
    options: Options = Options(),
) -> Output:
    """x at `times` for the first `count` of C cells.

    Args:
        rhs: (parameters with a leading lane axis, x (B, N)) -> dx/dt (B, N).
        jacobian: the same arguments -> (B, N, N).
        parameters: a pytree, leaves (C, ...), what differs between cells.
        start: x at t = 0.
        times: rising, all above 0.
        count: how many cells there are; the others come back as zeros. May be traced.
        lanes: cells side by side: one on a CPU, a thousand and more on an accelerator.
        options: tolerances and limits.
    """
    capacity, n = start.shape
    dtype = start.dtype
    rtol, atol = options.rtol, options.atol
    tol = max(10 * float(jnp.finfo(dtype).eps) / rtol, 0.03)
    alpha, gamma, error_const = (jnp.asarray(a, dtype) for a in (_ALPHA, _GAMMA, _ERROR))
    rows = np.arange(ROWS, dtype=np.int32)[None]
    count = jnp.asarray(count, jnp.int32)
    wide = lambda mask: mask[:, None]

    def fill(lane: _Lanes, fresh, cells) -> _Lanes:
        """The lanes `fresh` begin with `cells`."""
        at = jnp.minimum(cells, capacity - 1)
        parameters_new = jax.tree.map(lambda p: p[at], parameters)
        x0 = start[at]
        f0 = rhs(parameters_new, x0)
        d0 = jnp.zeros((len(at), ROWS, n), dtype).at[:, 0].set(x0)
        d0 = d0.at[:, 1].set(f0 * options.first_step)

        def mix(new, old):
            return jnp.where(jnp.reshape(fresh, (-1,) + (1,) * (old.ndim - 1)), new, old)

        return lane._replace(
            cell=mix(cells, lane.cell),
            parameters=jax.tree.map(mix, parameters_new, lane.parameters),
            t=mix(jnp.zeros_like(lane.t), lane.t),
            h=mix(jnp.full_like(lane.h, options.first_step), lane.h),
            order=mix(jnp.ones_like(lane.order), lane.order),
            equal=mix(jnp.zeros_like(lane.equal), lane.equal),
            differences=mix(d0, lane.differences),
            c=mix(jnp.zeros_like(lane.c), lane.c),
            x=mix(jnp.zeros_like(lane.x), lane.x),
            counts=mix(jnp.zeros_like(lane.counts).at[:, 3].set(1), lane.counts),
        )

    def factor(lane: _Lanes, need, c, y) -> _Lanes:
        """New factors of I - c J(y) for the lanes that need them."""
        matrix = jnp.eye(n, dtype=dtype)[None] - c[:, None, None] * jacobian(lane.parameters, y)
        lu, _, permutation = jax.lax.linalg.lu(matrix)
        keep = lambda new, old: jnp.where(
            jnp.reshape(need, (-1,) + (1,) * (old.ndim - 1)), new, old
        )
        return lane._replace(
            lu=keep(jnp.swapaxes(lu, 1, 2), lane.lu),
            permutation=keep(permutation, lane.permutation),
            c=keep(c, lane.c),
            rate=keep(jnp.ones_like(c), lane.rate),
            counts=lane.counts.at[:, 2].add(need.astype(jnp.int32)),
        )

    def solve(lane: _Lanes, b):
        lu = jnp.swapaxes(lane.lu, 1, 2)
        b = jnp.take_along_axis(b, lane.permutation, axis=1)[:, :, None]
        b = jax.lax.linalg.triangular_solve(lu, b, left_side=True, lower=True, unit_diagonal=True)
        return jax.lax.linalg.triangular_solve(lu, b, left_side=True, lower=False)[:, :, 0]

    def newton(lane: _Lanes, y, c, psi, scale):
        """(d, converged, iterations, rate): y + d solves y + d = c f - psi."""
        soften = 2 / (1 + c / lane.c)

        def more(carry):
            k, _, _, going, *_ = carry
            return (k < NEWTON) & jnp.any(going)

        def body(carry):
            k, d, y_now, going, converged, rate, last, used = carry
            residual = c[:, None] * rhs(lane.parameters, y_now) - psi - d
            step = solve(lane, residual) * wide(soften)
            norm = _rms(step / scale)
            measured = jnp.where(k > 0, norm / jnp.maximum(last, 1e-300), 0.0)
            rate_now = jnp.where(k > 0, jnp.maximum(0.3 * rate, measured), rate)
            bad = ~jnp.isfinite(norm) | ((k > 0) & (measured > 2))
            good = ~bad & (norm * jnp.minimum(1.0, rate_now) <= tol)
            move = going & ~bad
            d = jnp.where(wide(move), d + step, d)
            y_now = jnp.where(wide(move), y_now + step, y_now)
            return (
                k + 1,
                d,
                y_now,
                going & ~bad & ~good,
                converged | (going & good),
                jnp.where(going, rate_now, rate),
                norm,
                used + going.astype(jnp.int32),
            )

        idle = lane.cell >= count
        b = len(idle)
        carry = (
            jnp.zeros((), jnp.int32),
            jnp.zeros_like(y),
            y,
            ~idle,
            jnp.zeros(b, bool),
            lane.rate,
            jnp.zeros(b, dtype),
            jnp.zeros(b, jnp.int32),
        )
        _, d, y_now, _, converged, rate, _, used = jax.lax.while_loop(more, body, carry)
        return d, y_now, converged, used, rate

    def attempt(state):
        lane, following, output = state
        busy = lane.cell < count
        order, h = lane.order, lane.h
        order_wide = order[:, None]
        c = h / alpha[order]
        inside = (rows <= order_wide).astype(dtype)
        y = jnp.einsum("bi,bin->bn", inside, lane.differences)
        scale = atol + rtol * jnp.abs(y)
        weight = jnp.where((rows >= 1) & (rows <= order_wide), _padded(gamma)[None], 0.0)
        psi = jnp.einsum("bi,bin->bn", weight, lane.differences) / wide(alpha[order])

        need = busy & ~(jnp.abs(c / jnp.where(lane.c > 0, lane.c, 1e-300) - 1) < 0.3)
        lane = jax.lax.cond(
            jnp.any(need), lambda lane: factor(lane, need, c, y), lambda lane: lane, lane
        )
        d, y_new, converged, used, rate = newton(lane, y, c, psi, scale)
        scale = atol + rtol * jnp.abs(y_new)

        safety = 0.9 * (2 * NEWTON + 1) / (2 * NEWTON + used.astype(dtype))
        error = _rms(wide(error_const[order]) * d / scale)
        grow = lambda norm, exponent: jnp.maximum(norm, 1e-10) ** (-1.0 / exponent)
        accepted = busy & converged & (error <= 1)
        rejected = busy & converged & ~accepted
        stale = busy & ~converged & ~need  # try again with factors of here and now
        failed = busy & ~converged & need

        # Accept: the new differences, from the correction d upwards.
        differences = lane.differences
        at = lambda k: jnp.take_along_axis(differences, k[:, None, None], axis=1)[:, 0]
        beyond = d - at(order + 1)
        tail = jnp.where((rows <= order_wide)[:, :, None], differences, 0.0)
        tail = jnp.where((rows == order_wide + 1)[:, :, None], d[:, None], tail)
        summed = jnp.flip(jnp.cumsum(jnp.flip(tail, axis=1), axis=1), axis=1)
        fresh = jnp.where((rows <= order_wide + 1)[:, :, None], summed, differences)
        fresh = jnp.where((rows == order_wide + 2)[:, :, None], beyond[:, None], fresh)
        differences = jnp.where(accepted[:, None, None], fresh, differences)
        t_old = lane.t
        t = jnp.where(accepted, t_old + h, t_old)
        equal = jnp.where(accepted, lane.equal + 1, lane.equal)

        # Dense output at the times that this step passed.
        passed = accepted[:, None] & (times[None] > t_old[:, None]) & (times[None] <= t[:, None])
        x = jax.lax.cond(
            jnp.any(passed),
            lambda x: jnp.where(
                passed[:, :, None], _interpolate(differences, t, h, order, times), x
            ),
            lambda x: x,
            lane.x,
        )

        # Order and step of what comes next.
        choose = accepted & (equal >= order + 1)
        fresh_at = lambda k: jnp.take_along_axis(differences, k[:, None, None], axis=1)[:, 0]
        below = _rms(wide(error_const[jnp.maximum(order - 1, 0)]) * fresh_at(order) / scale)
        above = _rms(
            wide(error_const[jnp.minimum(order + 1, ORDERS)]) * fresh_at(order + 2) / scale
        )
        p = order.astype(dtype)
        factors = jnp.stack(
            [
                jnp.where(order > 1, grow(below, p), 0.0),
                grow(error, p + 1),
                jnp.where(order < ORDERS, grow(above, p + 2), 0.0),
            ]
        )
        best = jnp.argmax(factors, axis=0)
        change = jnp.minimum(10.0, safety * jnp.max(factors, axis=0))
        choose &= (change > 1.2) | (change < 0.9)  # else the factors at hand stay useful
        new_order = jnp.where(choose, order + best.astype(order.dtype) - 1, order)
        ratio = jnp.where(choose, change, 1.0)
        ratio = jnp.where(rejected, jnp.maximum(0.2, safety * grow(error, p + 1)), ratio)
        ratio = jnp.where(failed, 0.5, ratio)
        differences = jax.lax.cond(
            jnp.any(ratio != 1),
            lambda d: _rescale(d, new_order, ratio),
            lambda d: d,
            differences,
        )
        counts = lane.counts + jnp.stack(
            [accepted, busy, jnp.zeros_like(busy), jnp.zeros_like(busy)], axis=1
        ).astype(jnp.int32)
        counts = counts.at[:, 3].add(used)
        lane = lane._replace(
            t=t,
            h=h * ratio,
            order=new_order,
            equal=jnp.where(ratio != 1, 0, equal),
            differences=differences,
            c=jnp.where(stale | failed, 0.0, lane.c),
            rate=rate,
            x=x,
            counts=counts,
        )

        status = jnp.where(t >= times[-1], OK, 0)
        tired = (status == 0) & (counts[:, 1] >= options.max_steps)
        tiny = (status == 0) & (t + lane.h <= t)
        status = jnp.where(tired, TOO_MANY_STEPS, jnp.where(tiny, STEP_TOO_SMALL, status))
        done = busy & (status > 0)

        def turn(carry):
            lane, following, output = carry
            to = jnp.where(done, lane.cell, capacity)  # others fall off the end
            output = Output(
                output.x.at[to].set(lane.x, mode="drop"),
                output.status.at[to].set(status.astype(jnp.int32), mode="drop"),
                Statistics(
                    *(
                        old.at[to].set(new, mode="drop")
                        for old, new in zip(output.statistics, lane.counts.T, strict=True)
                    )
                ),
            )
            cells = following + jnp.cumsum(done.astype(jnp.int32)) - 1
            lane = fill(lane, done, cells)
            return lane, following + jnp.sum(done, dtype=jnp.int32), output

        # The factors stay outside: a branch would copy them.
        lu, permutation = lane.lu, lane.permutation
        carry = (lane._replace(lu=(), permutation=()), following, output)
        lane, following, output = jax.lax.cond(jnp.any(done), turn, lambda carry: carry, carry)
        return lane._replace(lu=lu, permutation=permutation), following, output

    cells = jnp.arange(lanes, dtype=jnp.int32)
    zeros = lambda *shape: jnp.zeros((lanes, *shape), dtype)
    integers = lambda *shape: jnp.zeros((lanes, *shape), jnp.int32)
    empty = _Lanes(
        cells,
        jax.tree.map(lambda p: jnp.zeros((lanes, *p.shape[1:]), p.dtype), parameters),
        zeros(),
        zeros(),
        integers(),
        integers(),
        zeros(ROWS, n),
        zeros(n, n),
        integers(n),
        zeros(),
        zeros(),
        zeros(len(times), n),
        integers(4),
    )
    output = Output(
        jnp.zeros((capacity, len(times), n), dtype),
        jnp.zeros(capacity, jnp.int32),
        Statistics(*(jnp.zeros(capacity, jnp.int32) for _ in range(4))),
    )
    state = (
        fill(empty, jnp.ones(lanes, bool), cells),
        jnp.asarray(lanes, jnp.int32),
        output,
    )
    going = lambda state: jnp.any(state[0].cell < count)
    return jax.lax.while_loop(going, attempt, state)[2]


def _padded(values):
    return jnp.concatenate([values, jnp.zeros(ROWS - len(values), values.dtype)])


def _interpolate(differences, t, h, order, times):
    """(B, T, N): the step's polynomial at `times`."""
    k = np.arange(ORDERS, dtype=np.float64)[None, :, None]
    back = times[None, None] - (t[:, None, None] - h[:, None, None] * k)
    part = back / (h[:, None, None] * (1 + k))
    inside = k < order[:, None, None].astype(t.dtype)
    weights = jnp.where(inside, jnp.cumprod(jnp.where(inside, part, 1.0), axis=1), 0.0)
    return differences[:, None, 0] + jnp.einsum(
        "bkt,bkn->btn", weights, differences[:, 1 : ORDERS + 1]
    )
