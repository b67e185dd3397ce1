"""One implicit step of many stiff systems side by side, each with its own step and order.

The quasi-constant step NDF of Shampine & Reichelt (SIAM J. Sci. Comput. 18, 1997), orders 1 to 5,
on backward differences, with a modified Newton iteration: the factors of I - c J are kept while c
stays within 30 % [Hindmarsh et al. 2005, CVODE] and made anew, with J, when they are not or when
the iteration does not converge.

Newton's updates leave every linear invariant of the system where it is.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

ORDERS, ROWS, NEWTON = 5, 8, 4
_KAPPA = np.array([0, -0.1850, -1 / 9, -0.0823, -0.0415, 0])
_GAMMA = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, ORDERS + 1))])
_ALPHA = (1 - _KAPPA) * _GAMMA
_ERROR = _KAPPA * _GAMMA + 1 / np.arange(1, ORDERS + 2)
_rows = np.arange(ROWS, dtype=np.int32)[None]


class Equations(NamedTuple):
    """dx/dt of B systems, and how exactly it is to be integrated."""

    rhs: Callable[[Any, Array], Array]  # (parameters (B, ...), x (B, N)) -> dx/dt (B, N)
    jacobian: Callable[[Any, Array], Array]  # the same -> (B, N, N)
    rtol: float
    atol: float


class State(NamedTuple):
    """Where each system stands, and what its next step starts from."""

    t: Float[Array, " B"]
    h: Float[Array, " B"]
    order: Int[Array, " B"]
    equal: Int[Array, " B"]  # steps since h or order last changed
    differences: Float[Array, "B 8 N"]
    lu: Float[Array, "B N N"]  # turned: LAPACK's order in the loop's, else each step would copy it
    permutation: Int[Array, "B N"]
    c: Float[Array, " B"]  # of these factors; 0 asks for new ones
    rate: Float[Array, " B"]  # convergence rate of Newton with these factors


class Polynomial(NamedTuple):
    """The solution over the last step."""

    differences: Float[Array, "B 8 N"]
    t: Float[Array, " B"]  # its end
    h: Float[Array, " B"]
    order: Int[Array, " B"]

    def at(self, times: Float[Array, " T"]) -> Float[Array, "B T N"]:
        """Its values at `times`."""
        k = np.arange(ORDERS, dtype=np.float64)[None, :, None]
        wide = lambda a: a[:, None, None]
        part = (times[None, None] - (wide(self.t) - wide(self.h) * k)) / (wide(self.h) * (1 + k))
        inside = k < wide(self.order).astype(self.t.dtype)
        weights = jnp.where(inside, jnp.cumprod(jnp.where(inside, part, 1.0), axis=1), 0.0)
        return self.differences[:, None, 0] + jnp.einsum(
            "bkt,bkn->btn", weights, self.differences[:, 1 : ORDERS + 1]
        )


class Report(NamedTuple):
    """What came of an attempt."""

    accepted: Bool[Array, " B"]
    factored: Bool[Array, " B"]  # whether it made new factors
    evaluations: Int[Array, " B"]  # of dx/dt
    solution: Polynomial


def begin(
    equations: Equations, parameters, x: Float[Array, "B N"], first_step: float
) -> Float[Array, "B 8 N"]:
    """The differences that a first step of order 1 starts from."""
    differences = jnp.zeros((len(x), ROWS, x.shape[1]), x.dtype).at[:, 0].set(x)
    return differences.at[:, 1].set(equations.rhs(parameters, x) * first_step)


def attempt(
    equations: Equations, parameters, state: State, busy: Bool[Array, " B"]
) -> tuple[State, Report]:
    """Tries one step of each busy system.

    A step that is too inexact, or whose iteration does not converge, leaves the system where it
    is, with a smaller step or new factors for the next attempt.
    """
    order, h, dtype = state.order, state.h, state.h.dtype
    alpha, error_const = jnp.asarray(_ALPHA, dtype), jnp.asarray(_ERROR, dtype)
    c = h / alpha[order]
    y, psi = _predict(state, alpha)
    need = busy & ~(jnp.abs(c / jnp.where(state.c > 0, state.c, 1e-300) - 1) < 0.3)
    state = jax.lax.cond(
        jnp.any(need),
        lambda state: _factor(equations, parameters, state, need, c, y),
        lambda state: state,
        state,
    )
    scale = equations.atol + equations.rtol * jnp.abs(y)
    found = _newton(equations, parameters, state, busy, y, c, psi, scale)
    scale = equations.atol + equations.rtol * jnp.abs(found.y)
    error = _rms(error_const[order][:, None] * found.d / scale)

    accepted = busy & found.converged & (error <= 1)
    rejected = busy & found.converged & ~accepted
    stale = busy & ~found.converged & ~need  # try again with factors of here and now
    failed = busy & ~found.converged & need
    differences = jnp.where(accepted[:, None, None], _corrected(state, found.d), state.differences)
    t = jnp.where(accepted, state.t + h, state.t)
    equal = jnp.where(accepted, state.equal + 1, state.equal)
    solution = Polynomial(differences, t, h, order)

    safety = 0.9 * (2 * NEWTON + 1) / (2 * NEWTON + found.used.astype(dtype))
    new_order, change = _prospects(solution, error, scale, error_const, safety)
    choose = accepted & (equal >= order + 1)
    choose &= (change > 1.2) | (change < 0.9)  # else the factors at hand stay useful
    new_order = jnp.where(choose, new_order, order)
    ratio = jnp.where(choose, change, 1.0)
    smaller = jnp.maximum(0.2, safety * _growth(error, order.astype(dtype) + 1))
    ratio = jnp.where(rejected, smaller, ratio)
    ratio = jnp.where(failed, 0.5, ratio)
    differences = jax.lax.cond(
        jnp.any(ratio != 1), lambda d: _rescale(d, new_order, ratio), lambda d: d, differences
    )
    new = state._replace(
        t=t,
        h=h * ratio,
        order=new_order,
        equal=jnp.where(ratio != 1, 0, equal),
        differences=differences,
        c=jnp.where(stale | failed, 0.0, state.c),
        rate=found.rate,
    )
    return new, Report(accepted, need, found.used, solution)


def _predict(state: State, alpha):
    """(y, psi): x extrapolated to t + h, and what the formula adds up of the past."""
    order = state.order[:, None]
    inside = (_rows <= order).astype(state.h.dtype)
    y = jnp.einsum("bi,bin->bn", inside, state.differences)
    gamma = jnp.asarray(np.append(_GAMMA, np.zeros(ROWS - len(_GAMMA))), state.h.dtype)
    weight = jnp.where((_rows >= 1) & (_rows <= order), gamma[None], 0.0)
    psi = jnp.einsum("bi,bin->bn", weight, state.differences)
    return y, psi / alpha[state.order][:, None]


def _factor(equations: Equations, parameters, state: State, need, c, y) -> State:
    """New factors of I - c J(y) for the systems that need them."""
    one = jnp.eye(y.shape[1], dtype=y.dtype)[None]
    lu, pivots, _ = jax.lax.linalg.lu(one - c[:, None, None] * equations.jacobian(parameters, y))
    keep = lambda new, old: jnp.where(jnp.reshape(need, (-1,) + (1,) * (old.ndim - 1)), new, old)
    return state._replace(
        lu=keep(jnp.swapaxes(lu, 1, 2), state.lu),
        permutation=keep(permutation(pivots), state.permutation),
        c=keep(c, state.c),
        rate=keep(jnp.ones_like(c), state.rate),
    )


def permutation(pivots: Int[Array, "B N"]) -> Int[Array, "B N"]:
    """Where each row came from, when row i was swapped with row pivots[i] for i = 0, 1, ...

    As JAX gives it too, which on a CPU takes half as long as the factors: every swap is an
    operation of its own there, here a few of them are selections in one.
    """
    count, chunk = pivots.shape[1], 16
    steps = -(-count // chunk) * chunk
    own = jnp.broadcast_to(
        jnp.arange(count, steps, dtype=pivots.dtype), (len(pivots), steps - count)
    )
    pivots = jnp.concatenate([pivots, own], axis=1)  # further swaps of rows with themselves

    def some(k, rows):
        first = steps - chunk * (k + 1)
        swaps = jax.lax.dynamic_slice_in_dim(pivots, first, chunk, axis=1)
        for i in reversed(range(chunk)):
            place, other = first + i, swaps[:, i, None]
            rows = jnp.where(rows == place, other, jnp.where(rows == other, place, rows))
        return rows

    start = jnp.broadcast_to(jnp.arange(count, dtype=pivots.dtype)[None], (len(pivots), count))
    return jax.lax.fori_loop(0, steps // chunk, some, start)


def _take(rows, places):
    """Along the second axis."""
    return jnp.take_along_axis(rows, places, axis=1, mode="promise_in_bounds")


def _solve(state: State, b: Float[Array, "B N"]) -> Float[Array, "B N"]:
    lu = jnp.swapaxes(state.lu, 1, 2)
    b = _take(b, state.permutation)[:, :, None]
    b = jax.lax.linalg.triangular_solve(lu, b, left_side=True, lower=True, unit_diagonal=True)
    return jax.lax.linalg.triangular_solve(lu, b, left_side=True, lower=False)[:, :, 0]


class _Iteration(NamedTuple):
    """Of Newton's: y = prediction + d solves y + ... = c f(y) - psi."""

    k: Int[Array, ""]
    d: Float[Array, "B N"]
    y: Float[Array, "B N"]
    going: Bool[Array, " B"]
    converged: Bool[Array, " B"]
    rate: Float[Array, " B"]
    last: Float[Array, " B"]  # norm of the last update
    used: Int[Array, " B"]


def _newton(equations: Equations, parameters, state: State, busy, y, c, psi, scale) -> _Iteration:
    """Solves d = c f(y + d) - psi with the factors at hand."""
    soften = 2 / (1 + c / state.c)  # for factors of another c
    tol = max(10 * float(jnp.finfo(y.dtype).eps) / equations.rtol, 0.03)

    def body(now: _Iteration) -> _Iteration:
        residual = c[:, None] * equations.rhs(parameters, now.y) - psi - now.d
        step = _solve(state, residual) * soften[:, None]
        norm = _rms(step / scale)
        measured = jnp.where(now.k > 0, norm / jnp.maximum(now.last, 1e-300), 0.0)
        rate = jnp.where(now.k > 0, jnp.maximum(0.3 * now.rate, measured), now.rate)
        bad = ~jnp.isfinite(norm) | ((now.k > 0) & (measured > 2))
        good = ~bad & (norm * jnp.minimum(1.0, rate) <= tol)
        move = (now.going & ~bad)[:, None]
        return _Iteration(
            k=now.k + 1,
            d=jnp.where(move, now.d + step, now.d),
            y=jnp.where(move, now.y + step, now.y),
            going=now.going & ~bad & ~good,
            converged=now.converged | (now.going & good),
            rate=jnp.where(now.going, rate, now.rate),
            last=norm,
            used=now.used + now.going.astype(jnp.int32),
        )

    start = _Iteration(
        k=jnp.zeros((), jnp.int32),
        d=jnp.zeros_like(y),
        y=y,
        going=busy,
        converged=jnp.zeros_like(busy),
        rate=state.rate,
        last=jnp.zeros_like(c),
        used=jnp.zeros_like(state.order),
    )
    more = lambda now: (now.k < NEWTON) & jnp.any(now.going)
    return jax.lax.while_loop(more, body, start)


def _corrected(state: State, d) -> Float[Array, "B 8 N"]:
    """The differences at t + h, from the correction d upwards."""
    order, old = state.order[:, None], state.differences
    wide = lambda mask: mask[:, :, None]
    beyond = d - _difference(old, state.order + 1)
    tail = jnp.where(wide(_rows <= order), old, 0.0)
    tail = jnp.where(wide(_rows == order + 1), d[:, None], tail)
    summed = jnp.flip(jnp.cumsum(jnp.flip(tail, axis=1), axis=1), axis=1)
    new = jnp.where(wide(_rows <= order + 1), summed, old)
    return jnp.where(wide(_rows == order + 2), beyond[:, None], new)


def _prospects(solution: Polynomial, error, scale, error_const, safety):
    """(order, factor of h) at which the next step is longest, for its estimated error."""
    differences, order = solution.differences, solution.order

    def estimate(other, k):
        return _rms(error_const[other][:, None] * _difference(differences, k) / scale)

    below = estimate(jnp.maximum(order - 1, 0), order)
    above = estimate(jnp.minimum(order + 1, ORDERS), order + 2)
    p = order.astype(error.dtype)
    factors = jnp.stack(
        [
            jnp.where(order > 1, _growth(below, p), 0.0),
            _growth(error, p + 1),
            jnp.where(order < ORDERS, _growth(above, p + 2), 0.0),
        ]
    )
    best = jnp.argmax(factors, axis=0).astype(order.dtype)
    return order + best - 1, jnp.minimum(10.0, safety * jnp.max(factors, axis=0))


def _growth(error, exponent):
    """The factor of h at which an error of this order would be just allowed."""
    return jnp.maximum(error, 1e-10) ** (-1.0 / exponent)


def _difference(differences, k):
    """The k-th, k (B,)."""
    return _take(differences, k[:, None, None])[:, 0]


def _rms(x):
    return jnp.sqrt(jnp.mean(x * x, axis=-1))


def _rescale(differences, order, factor):
    """The differences of step h turned into those of step factor * h."""
    matrix = _transition(order, factor, differences.dtype)
    head = jnp.einsum("bij,bin->bjn", matrix, differences[:, : ORDERS + 1])
    return jnp.concatenate([head, differences[:, ORDERS + 1 :]], axis=1)


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
