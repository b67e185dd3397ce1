"""Node accuracy and graph accuracy, as SALSA-CLRS scores: the share of nodes that are right, and
of graphs of which all nodes are."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from algorithmic.clrs import layout, specs
from algorithmic.clrs.layout import Values
from algorithmic.clrs.sparse import segments, tasks
from algorithmic.clrs.sparse.processors import rows, union
from fl_jax.core.types import Array, Float


class Right(NamedTuple):
    """Per graph of a batch."""

    nodes: Float[Array, " B"]  # how many of its nodes are right in all outputs
    whole: Float[Array, " B"]  # 1 where all are


def right(name: str, logits: Values, batch: tasks.Batch) -> Right:
    """What of the outputs is right; a scalar of the graph is if it rounds to the true whole number,
    and counts for all its nodes.

    Args:
        name: the task.
        logits: from `net.test`.
        batch: the runs.
    """
    slots = layout.slots(name, specs.OUTPUT)
    size = batch.outputs.node.shape[1]
    inside = jnp.arange(size, dtype=jnp.int32)[:, None] < batch.graph.nodes[None]
    good = inside
    for i, (_, p) in enumerate(slots.node):
        assert p.kind == specs.MASK, "the only plain output on nodes is a set"
        good &= (logits.node[i] > 0) == (batch.outputs.node[i] > 0.5)
    for i in range(len(slots.graph)):
        good &= (jnp.abs(logits.graph[i] - batch.outputs.graph[i]) < 0.5)[None]
    for i in range(len(slots.pointer)):
        best = _best(logits.pointer[i], batch.graph, size)
        good &= best == batch.outputs.pointer[i]
    nodes = jnp.sum(good, axis=0, dtype=jnp.float32)
    return Right(nodes, (nodes == batch.graph.nodes.astype(jnp.float32)).astype(jnp.float32))


def _best(logits, graph, size):
    """(N, B) the neighbour of the highest logit, the first of equals."""
    joined = union(graph)
    batch = graph.nodes.shape[0]
    flat = rows(logits[None])
    top = segments.maximum(flat, joined.receivers, joined.real, size * batch)
    attains = (flat == top[joined.receivers])[:, 0] & joined.real
    sender = jnp.where(attains, graph.senders.reshape(-1), size)
    return jax.ops.segment_min(sender, joined.receivers, size * batch).reshape(size, batch)
