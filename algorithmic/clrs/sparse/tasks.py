"""Runs of an algorithm on sparse graphs, as the network on edge lists reads them.

The runs come from the machines of `traces`, which read a matrix; what the network gets is linear
in the edges: node and graph probes as channels, pointers as the edges that they lie on.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from algorithmic.clrs import layout, specs, traces
from algorithmic.clrs.layout import Values
from algorithmic.clrs.sparse.graphs import Graph
from algorithmic.clrs.traces import machine
from fl_jax.core import errors
from fl_jax.core.types import Array, Bool, Int, Key


class Batch(NamedTuple):
    """B runs of one task; of `Values`, plain probes are (C, N, B), (C, E, B) and (C, B)."""

    graph: Graph
    inputs: Values  # pointer None
    outputs: Values  # pointer (P, N, B), indices
    hints: Values  # (T, ...) the same, of the T hints that were kept
    length: Int[Array, " B"]  # hints of the whole run


def check(name: str) -> None:
    """Refuses a task that this network is not for.

    Raises:
        ConfigError: not one of `specs.SALSA`.
    """
    errors.one_of("sparse task", name, specs.SALSA)


def weighted(name: str) -> bool:
    """Whether the weights of the edges matter."""
    return name in ("dijkstra", "mst_prim")


def in_turn(name: str) -> bool:
    """Whether nodes are taken one after another, so that a run is as long as the graph has
    nodes; the others go on with all nodes at once and take few steps."""
    return name in ("dfs", "dijkstra", "mst_prim")


def draw(
    name: str,
    key: Key[Array, ""],
    graph: Graph,
    matrix: Array,
    room: int,
    *,
    random_pos: bool = False,
) -> Batch:
    """Runs on these graphs, from random sources, with random priorities.

    Args:
        name: one of `specs.SALSA`.
        key: decides sources, priorities and positions.
        graph: of B graphs.
        matrix: (B, N, N) float32, its weights as matrices; N is the number of places for nodes.
        room: hints kept; 1 = the first alone, all that a test needs.
        random_pos: sorted uniforms in place of i / n.
    """
    check(name)
    batch, size = matrix.shape[:2]
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(batch, dtype=jnp.uint32))
    probes = jax.vmap(lambda k, n: _probes(name, k, size, n, random_pos))(keys, graph.nodes)
    compact = {**probes, "A": matrix}
    hints, outputs, length = machine.run_batch(traces.MACHINES[name], compact, graph.nodes, room)
    ticks = traces.MACHINES[name].ticks

    def channels(stage, found):
        slots = layout.slots(name, stage)._replace(edge=())
        counts = layout.counts((name,), stage)._replace(edge=0)
        values = layout.of_slots(slots, ticks, found, counts, size)
        node, _, of_graph, pointer, _ = values
        last = lambda v: jnp.swapaxes(v, -1, 1 if stage == specs.HINT else 0)
        pointer = last(pointer) if counts.pointer else None
        return Values(last(node), None, last(of_graph), pointer, None)

    adjacent = graph.real.astype(jnp.float32)
    edge = jnp.stack([graph.weight if weighted(name) else _unit(graph), adjacent])
    return Batch(
        graph,
        channels(specs.INPUT, probes)._replace(edge=edge),
        channels(specs.OUTPUT, outputs),
        channels(specs.HINT, hints),
        length,
    )


def _unit(graph):
    """A of unweighted graphs: 1 on edges, 0 on self loops and padding."""
    return (graph.weight != 0).astype(jnp.float32)


def _probes(name, key, size, n, random_pos):
    """Inputs beside the edges, of one graph."""
    source, priority, place = jax.random.split(key, 3)
    at = jnp.arange(size, dtype=jnp.int32)
    inside = at < n
    if random_pos:
        uniform = jax.random.uniform(place, (size,))
        pos = jnp.sort(jnp.where(inside, uniform, 2.0))
    else:
        pos = machine.ratio(at, n, jnp.float32)
    out = {"pos": jnp.where(inside, pos, 0.0)}
    spec = specs.of(name)
    if "s" in spec and spec["s"].stage == specs.INPUT:
        out["s"] = jax.random.randint(source, (), 0, n, jnp.int32)
    if "key" in spec and spec["key"].stage == specs.INPUT:
        out["key"] = jnp.where(inside, jax.random.uniform(priority, (size,)), 0.0)
    return out


def pointing(index: Int[Array, "P N B"], graph: Graph) -> Bool[Array, "P E B"]:
    """Where the receiver of an edge points to its sender."""
    target = jnp.take_along_axis(index, graph.receivers[None], axis=1)
    return (target == graph.senders[None]) & graph.real[None]
