"""An algorithm as a machine that shows one hint per step, and what runs such machines.

All machines work on padded arrays: N places of which the first n hold nodes, n a traced integer,
so that one compiled program serves every size up to N.

Hints leave a machine in compact form: an index for a mask_one, a class number for a categorical,
int8 for a mask, int16 for a pointer, ticks (integers) for times that count in steps of 0.01. The
values that dm-clrs stores are made from these by `expand`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from algorithmic.clrs import specs
from fl_jax.core.types import Array, Bool, Int

Values = dict[str, Any]


class Machine(NamedTuple):
    """One algorithm. Loops of the textbook are unrolled into steps that show one hint each."""

    start: Callable[[Values, Array], Values]
    """(inputs, n) -> state"""
    step: Callable[[Values, Array, Values], tuple[Values, Values, Array]]
    """(inputs, n, state) -> (state, hint, whether this hint is the last)"""
    outputs: Callable[[Values, Array, Values], Values]
    """(inputs, n, last state) -> outputs, compact"""
    longest: Callable[[int], int]
    """n -> a number of hints that no input of n nodes exceeds"""
    ticks: frozenset[str] = frozenset()
    """the scalar hints that count in steps of 0.01"""


def put(x: Array, i: Array | int, value: Any) -> Array:
    """x with x[i] = value, as a select: under `vmap` a scatter runs element by element."""
    return jnp.where(jnp.arange(x.shape[0], dtype=jnp.int32) == i, jnp.asarray(value, x.dtype), x)


def first(mask: Bool[Array, " N"]) -> Int[Array, ""]:
    """The lowest index where the mask holds; 0 where it holds nowhere."""
    return jnp.argmax(mask).astype(jnp.int32)


def places(x: Array) -> Int[Array, " N"]:
    """0, 1, ..., N - 1 for an array of N rows."""
    return jnp.arange(x.shape[0], dtype=jnp.int32)


def int8(x: Array) -> Array:
    """As a mask is stored."""
    return x.astype(jnp.int8)


def ratio(a: Array, b: Array | int, dtype) -> Array:
    """a / b, rounded once: a divisor that is one number for all would be inverted first."""
    divisor = jnp.broadcast_to(jnp.asarray(b).astype(dtype), a.shape)
    return a.astype(dtype) / jax.lax.optimization_barrier(divisor)


def predecessors(order: Int[Array, " N"], n: Array) -> Int[Array, " N"]:
    """Node -> the node before it in `order`; the first points to itself, so does padding."""
    at = places(order)
    before = order[jnp.maximum(at - 1, 0)]
    return at.at[order].set(jnp.where((at >= 1) & (at < n), before, order))


def run_batch(machine: Machine, inputs: Values, n: Array, max_length: int, shown=None):
    """Runs a batch until its last member is done, writing hints in place.

    Args:
        machine: the algorithm.
        inputs: compact inputs with a leading batch axis.
        n: (batch,) int32.
        max_length: hints kept; a longer run goes on counting but shows no more.
        shown: dtype that scalar hints are kept in; None = the one that the machine computes in.

    Returns:
        (hints (max_length, batch, ...) compact and zero beyond each length, outputs,
        length (batch,) int32, which may exceed `max_length`; above `longest`, the run has not
        ended there, and its outputs are those of its middle).
    """
    batch = n.shape[0]
    state = jax.vmap(machine.start)(inputs, n)

    def step(inputs, n, state):
        new, hints, last = jax.vmap(machine.step)(inputs, n, state)
        floating = lambda h: shown is not None and jnp.issubdtype(h.dtype, jnp.floating)
        return new, jax.tree.map(lambda h: h.astype(shown) if floating(h) else h, hints), last

    one = jax.eval_shape(step, inputs, n, state)[1]
    buffers = jax.tree.map(lambda h: jnp.zeros((max_length, *h.shape), h.dtype), one)
    zero = jnp.zeros(batch, jnp.int32)

    def more(carry):
        t, _, done, _, _ = carry
        return ~jnp.all(done) & (t < limit)

    def body(carry):
        t, state, done, length, buffers = carry
        new, hints, last = step(inputs, n, state)
        state = _keep(done, state, new)
        hints = _keep(done, jax.tree.map(jnp.zeros_like, hints), hints)
        at = jnp.minimum(t, max_length - 1)
        if max_length < limit:  # past the end, the last row stays as it is
            hints = jax.tree.map(lambda b, h: jnp.where(t < max_length, h, b[at]), buffers, hints)
        write = lambda b, h: jax.lax.dynamic_update_index_in_dim(b, h, at, 0)
        buffers = jax.tree.map(write, buffers, hints)
        return t + 1, state, done | last, length + (~done).astype(jnp.int32), buffers

    limit = machine.longest(_padded(inputs))
    carry = (jnp.int32(0), state, jnp.zeros(batch, bool), zero, buffers)
    _, state, done, length, buffers = jax.lax.while_loop(more, body, carry)
    length = length + (~done).astype(jnp.int32)
    return buffers, jax.vmap(machine.outputs)(inputs, n, state), length


def run_one(machine: Machine, inputs: Values, n: Array, max_length: int):
    """As `run_batch` for one sample, in a loop of fixed length that is cheap under `vmap`."""

    def body(carry, _):
        state, done = carry
        new, hints, last = machine.step(inputs, n, state)
        state = jax.tree.map(lambda a, b: jnp.where(done, a, b), state, new)
        hints = jax.tree.map(lambda h: jnp.where(done, jnp.zeros_like(h), h), hints)
        return (state, done | last), (hints, ~done)

    carry = (machine.start(inputs, n), jnp.bool_(False))
    (state, _), (hints, active) = jax.lax.scan(body, carry, length=max_length)
    length = jnp.sum(active, dtype=jnp.int32)
    return hints, machine.outputs(inputs, n, state), length


def expand(probe: specs.Probe, value: Array, nodes: int, ticks: bool, dtype) -> Array:
    """A compact value as dm-clrs stores it.

    Args:
        probe: what it is.
        value: compact, with any leading axes.
        nodes: N, the length of a one-hot over nodes.
        ticks: whether it counts in steps of 0.01.
        dtype: of scalars.

    Returns:
        scalar `dtype`; mask, mask_one and categorical int8; pointer int16.
    """
    if probe.kind == specs.MASK_ONE:
        return _one_hot(value, nodes)
    if probe.kind == specs.CATEGORICAL:
        hot = _one_hot(value, probe.classes)
        if probe.location != specs.EDGE:
            return hot
        # The last class of lcs_length means "no cell", and is stored as masked.
        return jnp.concatenate([hot[..., :-1], -hot[..., -1:]], axis=-1)
    if ticks:
        return jnp.asarray(_times(8 * nodes + 2).astype(dtype))[value]
    if probe.kind == specs.SCALAR:
        return value.astype(dtype)
    return value


def _one_hot(index: Array, count: int) -> Array:
    classes = jax.lax.broadcasted_iota(index.dtype, (*index.shape, count), index.ndim)
    return int8(index[..., None] == classes)


def _times(count: int) -> np.ndarray:
    """What adding 0.01 so many times gives in float64, rounding errors included."""
    return np.concatenate([[0.0], np.cumsum(np.full(count, 0.01))])


def _keep(done, old, new):
    """`old` where a sample is done, else `new`."""
    pick = lambda a, b: jnp.where(done.reshape(-1, *[1] * (a.ndim - 1)), a, b)
    return jax.tree.map(pick, old, new)


def _padded(inputs: Values) -> int:
    return inputs["pos"].shape[-1]
