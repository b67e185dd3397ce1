"""Probes as channels: one table of slots per location and kind, which tasks of a group share.

The network does not see probes but channels: a scalar, mask or mask_one is one channel, a class
is one channel of its categorical, a node pointer is an (n, n) matrix and so an edge channel of
its own. Tasks of one group have their channels padded to common counts, so that their parameters
stand on one leading axis and the network is traced once for all of them.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from algorithmic.clrs import specs
from fl_jax.core.types import Array

KINDS = (specs.SCALAR, specs.MASK, specs.MASK_ONE, specs.CATEGORICAL)


class Slots(NamedTuple):
    """The probes of one task that are shown together: its inputs, its hints or its outputs."""

    node: tuple[tuple[str, specs.Probe], ...]  # scalar, mask, mask_one, categorical
    edge: tuple[tuple[str, specs.Probe], ...]
    graph: tuple[tuple[str, specs.Probe], ...]
    pointer: tuple[tuple[str, specs.Probe], ...]  # node pointers and permutations
    edge_pointer: tuple[tuple[str, specs.Probe], ...]


class Counts(NamedTuple):
    """Channels per location, padded to the most that a task of the group has."""

    node: int
    edge: int
    graph: int
    pointer: int
    edge_pointer: int


class Channels(NamedTuple):
    """What each channel of one location is; (C,) and (C, C) arrays, stacked over tasks."""

    kind: Array  # one-hot over KINDS, (C, 4); all zero on padding
    group: Array  # (C, C), 1 where two channels are classes of one categorical
    head: Array  # (C,), 1 on the first channel of a probe: where its bias and its loss stand


class Values(NamedTuple):
    """Probes of one stage as channels, (..., N, C), (..., N N, C), (..., C), pointers as indices.

    Pointers are (..., N, P) and (..., N N, Q) int32; when decoded they are distributions with
    a further axis over nodes. What belongs to edges has one axis of pairs, row after row, so that
    with an axis of steps, or of targets, it still has four.
    """

    node: Any
    edge: Any
    graph: Any
    pointer: Any
    edge_pointer: Any


def slots(name: str, stage: str) -> Slots:
    """The probes that the network reads or writes at one stage, by location."""
    chosen = [(k, p) for k, p in specs.training_spec(name).items() if p.stage == stage]
    pointer = (specs.POINTER, specs.PERMUTATION)
    plain = lambda where: tuple(
        (k, p) for k, p in chosen if p.location == where and p.kind not in pointer
    )
    pointing = lambda where: tuple(
        (k, p) for k, p in chosen if p.location == where and p.kind in pointer
    )
    return Slots(
        plain(specs.NODE),
        plain(specs.EDGE),
        plain(specs.GRAPH),
        pointing(specs.NODE),
        pointing(specs.EDGE),
    )


def width(probes) -> int:
    """Channels of these probes."""
    return sum(max(p.classes, 1) for _, p in probes)


def counts(names: tuple[str, ...], stage: str) -> Counts:
    """Channels that a group of tasks needs."""
    each = [slots(name, stage) for name in names]
    sized = [
        (width(s.node), width(s.edge), width(s.graph), len(s.pointer), len(s.edge_pointer))
        for s in each
    ]
    return Counts(*(max(column) for column in zip(*sized, strict=True)))


def channels(name: str, stage: str, padded: Counts) -> Values:
    """The tables of one task: `Channels` for plain probes, live flags for pointers."""
    mine = slots(name, stage)
    flags = lambda probes, count: np.arange(count) < len(probes)
    return Values(
        _channels(mine.node, padded.node),
        _channels(mine.edge, padded.edge),
        _channels(mine.graph, padded.graph),
        flags(mine.pointer, padded.pointer).astype(np.float32),
        flags(mine.edge_pointer, padded.edge_pointer).astype(np.float32),
    )


def _channels(probes, count):
    kind = np.zeros((count, len(KINDS)), np.float32)
    group = np.zeros((count, count), np.float32)
    head = np.zeros(count, np.float32)
    at = 0
    for _, p in probes:
        size = max(p.classes, 1)
        kind[at : at + size, KINDS.index(p.kind)] = 1
        group[at : at + size, at : at + size] = 1
        head[at] = 1
        at += size
    return Channels(kind, group, head)


def values(name: str, stage: str, compact: dict[str, Array], padded: Counts, nodes: int) -> Values:
    """Compact probes (`traces.machine`, `inputs.compact`) as channels.

    Args:
        name: the task.
        stage: input, hint or output.
        compact: by probe name, with any leading axes, the same for all. Inputs hold `pred` where
            the task takes it; outputs hold a permutation's cyclic pointer and its mask.
        padded: channels of the group.
        nodes: N.
    """
    return of_slots(slots(name, stage), _ticks(name), compact, padded, nodes)


def of_slots(mine: Slots, ticks, compact: dict[str, Array], padded: Counts, nodes: int) -> Values:
    """As `values`, of the probes in these slots; `ticks` are those that count in steps of 0.01."""
    lead = _lead(mine, compact, nodes)
    flat = lambda p, value: paired(value, len(lead)) if p.location == specs.EDGE else value

    def plain(probes, count, shape):
        parts = []
        for k, p in probes:
            parts.append(_channel(k, p, flat(p, compact[k]), nodes, k in ticks))
        have = sum(part.shape[-1] for part in parts)
        parts.append(jnp.zeros((*lead, *shape, count - have), jnp.float32))
        return jnp.concatenate(parts, axis=-1)

    def pointing(probes, count, shape):
        parts = [flat(p, compact[k]).astype(jnp.int32)[..., None] for k, p in probes]
        parts.append(jnp.zeros((*lead, *shape, count - len(parts)), jnp.int32))
        return jnp.concatenate(parts, axis=-1)

    return Values(
        plain(mine.node, padded.node, (nodes,)),
        plain(mine.edge, padded.edge, (nodes**2,)),
        plain(mine.graph, padded.graph, ()),
        pointing(mine.pointer, padded.pointer, (nodes,)),
        pointing(mine.edge_pointer, padded.edge_pointer, (nodes**2,)),
    )


def paired(value: Array, at: int) -> Array:
    """(..., N, N, ...) -> (..., N N, ...), the two axes from `at` on as one."""
    first, second = value.shape[at : at + 2]
    return value.reshape(*value.shape[:at], first * second, *value.shape[at + 2 :])


def unpaired(value: Array, at: int, nodes: int) -> Array:
    """(..., N N, ...) -> (..., N, N, ...), the way back from `paired`."""
    return value.reshape(*value.shape[:at], nodes, nodes, *value.shape[at + 1 :])


def probes(name: str, stage: str, given: Values) -> dict[str, Array]:
    """Plain probes by name out of their channels, the way back from `values`.

    Args:
        name: the task.
        stage: input, hint or output.
        given: channels with any leading axes.

    Returns:
        Scalars, masks and one-hots without a channel axis, classes with theirs; no pointers.
    """
    mine, out = slots(name, stage), {}
    lead, nodes = given.graph.ndim - 1, given.node.shape[-2]
    for where in (specs.NODE, specs.EDGE, specs.GRAPH):
        at = 0
        for k, p in getattr(mine, where):
            width_k = max(p.classes, 1)
            part = getattr(given, where)[..., at : at + width_k]
            part = part if p.classes else part[..., 0]
            out[k] = unpaired(part, lead, nodes) if where == specs.EDGE else part
            at += width_k
    return out


def _channel(probe, p, value, nodes, ticks):
    """One plain probe as float32 with a channel axis."""
    from algorithmic.clrs.traces import machine

    value = machine.expand(p, value, nodes, ticks, jnp.float32).astype(jnp.float32)
    return value if p.kind == specs.CATEGORICAL else value[..., None]


def _ticks(name):
    from algorithmic.clrs import traces

    return traces.MACHINES[name].ticks


def _lead(mine: Slots, compact, nodes) -> tuple[int, ...]:
    """The leading axes that all probes share."""
    ranks = {specs.NODE: 1, specs.EDGE: 2, specs.GRAPH: 0}
    for group in mine:
        for k, p in group:
            rank = ranks[p.location] - (p.kind == specs.MASK_ONE)
            shape = compact[k].shape
            return shape[: len(shape) - rank]
    raise ValueError("a stage without probes has no shape.")


def cyclic(pred: Array, n: Array) -> tuple[Array, Array]:
    """(pointers with the first node pointing to the last, index of the first node).

    Args:
        pred: (N,) predecessors, the first of n nodes pointing to itself.
        n: nodes.
    """
    at = jnp.arange(pred.shape[0], dtype=jnp.int32)
    pred = pred.astype(jnp.int32)
    inside = at < n
    first = jnp.argmax(inside & (pred == at)).astype(jnp.int32)
    pointed = jnp.any((pred[None, :] == at[:, None]) & inside[None, :] & (at != first)[None, :], 1)
    last = jnp.argmax(inside & ~pointed).astype(jnp.int32)
    return jnp.where(at == first, last, pred), first


def stack(tables):
    """Per-task tables as one with a leading task axis."""
    return jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(x) for x in leaves]), *tables)
