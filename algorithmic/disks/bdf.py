"""Stiff integration of many cells: variable-order BDF, each cell with its own steps and order.

B lanes run side by side, a step of `ndf` at a time. A lane that has reached its end time takes
the next cell of the queue, so one slow cell costs its own steps and no one else's.

Newton's updates leave every linear invariant of the network where it is, so elements and charge
drift by rounding only.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from algorithmic.disks import ndf

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
    cell: Int[Array, " B"]  # beyond the last where the lane is idle
    parameters: Any  # leaves (B, ...)
    state: ndf.State
    x: Float[Array, "B T N"]
    spent: Statistics


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
    capacity = len(start)
    equations = ndf.Equations(rhs, jacobian, options.rtol, options.atol)
    count = jnp.asarray(count, jnp.int32)

    def fill(lane: _Lanes, fresh, cells) -> _Lanes:
        """The lanes `fresh` begin with `cells`."""
        at = jnp.minimum(cells, capacity - 1)
        own = jax.tree.map(lambda p: p[at], parameters)
        differences = ndf.begin(equations, own, start[at], options.first_step)

        def mix(new, old):
            return jnp.where(jnp.reshape(fresh, (-1,) + (1,) * (old.ndim - 1)), new, old)

        zero = lambda old: mix(jnp.zeros_like(old), old)
        state = lane.state
        state = state._replace(
            t=zero(state.t),
            h=mix(jnp.full_like(state.h, options.first_step), state.h),
            order=mix(jnp.ones_like(state.order), state.order),
            equal=zero(state.equal),
            differences=mix(differences, state.differences),
            c=zero(state.c),
        )
        spent = Statistics(*map(zero, lane.spent))
        one = jnp.ones_like(spent.evaluations)
        return _Lanes(
            mix(cells, lane.cell),
            jax.tree.map(mix, own, lane.parameters),
            state,
            zero(lane.x),
            spent._replace(evaluations=mix(one, spent.evaluations)),
        )

    def advance(carry):
        lane, following, output = carry
        busy, before = lane.cell < count, lane.state.t
        state, report = ndf.attempt(equations, lane.parameters, lane.state, busy)
        after = report.solution.t
        passed = (times[None] > before[:, None]) & (times[None] <= after[:, None])
        passed &= report.accepted[:, None]
        x = jax.lax.cond(
            jnp.any(passed),
            lambda x: jnp.where(passed[:, :, None], report.solution.at(times), x),
            lambda x: x,
            lane.x,
        )
        more = (report.accepted, busy, report.factored, report.evaluations)
        spent = Statistics(
            *(a + b.astype(jnp.int32) for a, b in zip(lane.spent, more, strict=True))
        )

        status = jnp.where(after >= times[-1], OK, 0)
        tired = (status == 0) & (spent.attempts >= options.max_steps)
        tiny = (status == 0) & (after + state.h <= after)
        status = jnp.where(tired, TOO_MANY_STEPS, jnp.where(tiny, STEP_TOO_SMALL, status))
        done = busy & (status > 0)

        def turn(carry):
            lane, following, output = carry
            to = jnp.where(done, lane.cell, capacity)  # others fall off the end
            put = lambda old, new: old.at[to].set(new, mode="drop")
            output = Output(
                put(output.x, lane.x),
                put(output.status, status.astype(jnp.int32)),
                Statistics(*map(put, output.statistics, lane.spent)),
            )
            cells = following + jnp.cumsum(done.astype(jnp.int32)) - 1
            return fill(lane, done, cells), following + jnp.sum(done, dtype=jnp.int32), output

        # The factors stay outside: a branch would copy them.
        bare = state._replace(lu=(), permutation=())
        lane = lane._replace(state=bare, x=x, spent=spent)
        carry = (lane, following, output)
        lane, following, output = jax.lax.cond(jnp.any(done), turn, lambda carry: carry, carry)
        whole = lane.state._replace(lu=state.lu, permutation=state.permutation)
        return lane._replace(state=whole), following, output

    cells = jnp.arange(lanes, dtype=jnp.int32)
    lane = fill(_idle(lanes, parameters, start, len(times)), jnp.ones(lanes, bool), cells)
    output = Output(
        jnp.zeros((capacity, len(times), start.shape[1]), start.dtype),
        jnp.zeros(capacity, jnp.int32),
        Statistics(*(jnp.zeros(capacity, jnp.int32) for _ in Statistics._fields)),
    )
    going = lambda carry: jnp.any(carry[0].cell < count)
    carry = (lane, jnp.asarray(lanes, jnp.int32), output)
    return jax.lax.while_loop(going, advance, carry)[2]


def _idle(lanes: int, parameters, start, times: int) -> _Lanes:
    """Lanes that hold nothing yet."""
    n = start.shape[1]
    real = lambda *shape: jnp.zeros((lanes, *shape), start.dtype)
    whole = lambda *shape: jnp.zeros((lanes, *shape), jnp.int32)
    return _Lanes(
        cell=whole(),
        parameters=jax.tree.map(lambda p: jnp.zeros((lanes, *p.shape[1:]), p.dtype), parameters),
        state=ndf.State(
            t=real(),
            h=real(),
            order=whole(),
            equal=whole(),
            differences=real(ndf.ROWS, n),
            lu=real(n, n),
            permutation=whole(n),
            c=real(),
            rate=real(),
        ),
        x=real(times, n),
        spent=Statistics(*(whole() for _ in Statistics._fields)),
    )
