"""Random trajectories as lanes of the network, made on the device inside the training step."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from algorithmic.clrs import layout, samplers, specs, traces
from algorithmic.clrs.layout import Values
from algorithmic.clrs.net import Group, Lanes
from algorithmic.clrs.traces import machine
from fl_jax.core.types import Array, Int, Key, PyTree


class Shape(NamedTuple):
    """Sizes of a batch of lanes of one task, all static."""

    batch: int  # B
    size: int  # N, nodes after padding
    steps: int  # L
    places: int  # S, trajectories per lane
    room: int  # hints kept of a trajectory; longer ones are cut


class Runs(NamedTuple):
    """Trajectories as channels."""

    nodes: Int[Array, " runs"]
    inputs: Values  # (runs, ...)
    hints: Values  # (room, runs, ...)
    outputs: Values  # (runs, ...)
    length: Int[Array, " runs"]


def draw(
    name: str,
    group: Group,
    key: Key[Array, ""],
    count: int,
    length: Int[Array, ""] | int,
    size: int,
    room: int,
    options: samplers.Options,
) -> Runs:
    """Random trajectories, all of one length, with the paper's tricks applied.

    Args:
        name: the task.
        group: whose channels are used.
        key: decides the inputs.
        count: how many.
        length: n of all; may be traced.
        size: nodes after padding.
        room: hints kept.
        options: of the sampler.
    """
    compact, n = samplers.draw(name, key, count, length, options, size=size)
    hints, outputs, true_length = machine.run_batch(traces.MACHINES[name], compact, n, room)
    return channels(name, group, compact, n, hints, outputs, true_length, size)


def channels(name, group, compact, n, hints, outputs, length, size) -> Runs:
    """Compact trajectories as channels: static `pred` as input, permutations made cyclic."""
    compact = dict(compact)
    if "A" in compact:
        at = jnp.arange(size, dtype=jnp.int32)
        inside = at[None] < n[:, None]
        edge = (compact["A"] != 0) | jnp.eye(size, dtype=bool)[None]
        compact["adj"] = (edge & inside[:, :, None] & inside[:, None]).astype(jnp.int8)
    if name in specs.STATIC_PRED:
        compact["pred"] = hints["pred_h"][0]
    outputs = dict(outputs)
    order = specs.permutation(name)
    if order is not None:
        outputs[order], outputs[f"{order}_mask"] = jax.vmap(layout.cyclic)(outputs[order], n)
    return Runs(
        n,
        layout.values(name, specs.INPUT, compact, group.inputs, size),
        layout.values(name, specs.HINT, hints, group.hints, size),
        layout.values(name, specs.OUTPUT, outputs, group.outputs, size),
        length,
    )


def whole(runs: Runs, steps: int | None = None) -> Lanes:
    """One trajectory per lane, from its first hint to its last.

    Args:
        runs: the trajectories.
        steps: L; None = one less than the hints kept, and at least one.
    """
    room = jax.tree.leaves(runs.hints)[0].shape[0]
    steps = steps or max(room - 1, 1)
    when = jnp.arange(steps, dtype=jnp.int32)[:, None]
    length = runs.length[None]
    hint = lambda shift: jax.tree.map(
        lambda v: v[jnp.clip(jnp.arange(steps, dtype=jnp.int32) + shift, 0, room - 1)], runs.hints
    )
    end = jnp.maximum(length - 2, 0)
    one = jax.tree.map(lambda v: v[None], (runs.nodes, runs.inputs, runs.outputs))
    shape = (steps, runs.length.shape[0])
    return Lanes(
        *one,
        now=hint(0),
        following=hint(1),
        segment=jnp.zeros(shape, jnp.int32),
        first=jnp.broadcast_to(when == 0, shape),
        last=when == end,
        valid=when + 1 < length,
    )


def chunks(runs: Runs, key: Key[Array, ""], shape: Shape) -> Lanes:
    """Lanes of L steps: short trajectories one after another, of long ones a chunk each.

    A chunk of a longer trajectory starts from its true hint and a zero hidden state. The reference
    too starts every chunk from one and the same state, but feeds a true hint only where a
    trajectory begins: a later chunk there starts from hints that are not its own [dm-clrs,
    BaselineModelChunked and NetChunked]. A trajectory that does not end within its lane has no
    output.
    """
    places, batch, steps = shape.places, shape.batch, shape.steps
    length = runs.length.reshape(places, batch)
    total = jnp.maximum(length - 1, 1)
    begin = jnp.zeros_like(total)
    if places == 1:
        pieces = -(-total // steps)
        begin = jax.random.randint(key, total.shape, 0, pieces, jnp.int32) * steps
    taken = total - begin
    ends = jnp.cumsum(taken, axis=0, dtype=jnp.int32)
    when = jnp.arange(steps, dtype=jnp.int32)
    past = when[:, None, None] >= ends[None]
    place = jnp.sum(past, axis=1, dtype=jnp.int32)  # (L, B), S when the lane is used up
    used_up = place >= places
    place = jnp.minimum(place, places - 1)
    of = lambda v: jnp.take_along_axis(v, place, axis=0)
    time = when[:, None] - of(ends - taken) + of(begin)
    first = (when[:, None] == of(ends - taken)) & ~used_up
    last = (time == of(total) - 1) & ~used_up
    valid = (time + 1 < jnp.minimum(of(length), shape.room)) & ~used_up
    row = place * batch + jnp.arange(batch, dtype=jnp.int32)[None]
    at = lambda shift: jax.tree.map(
        lambda v: v[jnp.clip(time + shift, 0, shape.room - 1), row], runs.hints
    )
    fold = lambda v: v.reshape(places, batch, *v.shape[1:])
    return Lanes(
        fold(runs.nodes),
        jax.tree.map(fold, runs.inputs),
        jax.tree.map(fold, runs.outputs),
        now=at(0),
        following=at(1),
        segment=place,
        first=first,
        last=last,
        valid=valid,
    )


def of_task(
    name: str, group: Group, key: Key[Array, ""], length, shape: Shape, options: samplers.Options
) -> Lanes:
    """Fresh lanes of one task."""
    first, second = jax.random.split(key)
    count = shape.places * shape.batch
    runs = draw(name, group, first, count, length, shape.size, shape.room, options)
    return chunks(runs, second, shape)


def stack(each: list[PyTree]) -> PyTree:
    """Lanes of several tasks with a leading task axis."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)
