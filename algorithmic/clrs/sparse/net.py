"""Encode, process, decode on edge lists, step after step; parameters are the dense network's.

A pointer is a choice among a node's edges: it is decoded on the edges that end in the node, and
fed back on those that begin there, which is where the dense network has it. What is between nodes
that share no edge has no score: a softmax over neighbours stands where the dense network has one
over all nodes, and on a complete graph the two networks are one.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from algorithmic.clrs import decoders, encoders, losses, net, specs
from algorithmic.clrs import processors as dense
from algorithmic.clrs.layout import Values
from algorithmic.clrs.sparse import processors, segments, tasks
from fl_jax.core.types import Array, Float, Key, PyTree


@dataclasses.dataclass(frozen=True)
class Config:
    """The network."""

    processor: str = "gmpnn"  # processors.NAMES
    hidden: int = 128  # h, of nodes, edges and graph
    layer_norm: bool = True
    reduction: str = "max"  # of messages: max or sum


class Kept(NamedTuple):
    """What outputs are decoded from: the state after a run's last step."""

    h_t: Float[Array, "H N B"]
    x: Float[Array, "C E B"]
    graph: Float[Array, "h B"]


class Outcome(NamedTuple):
    """Logits of the outputs, and sums and counts of the losses of outputs and hints."""

    logits: Values  # node (C, N, B), graph (C, B), pointer (P, E, B): the receiver to the sender
    outputs: losses.Tally
    hints: losses.Tally | None  # None where hints were not given


def processor(config: Config) -> processors.Processor:
    """The configured processor."""
    return processors.make(
        config.processor,
        hidden=config.hidden,
        layer_norm=config.layer_norm,
        reduction=config.reduction,
    )


def init(key: Key[Array, ""], name: str, config: Config) -> tuple[PyTree, PyTree]:
    """(the processor's parameters, the task's encoders and decoders), as the dense network has
    them."""
    tasks.check(name)
    group = net.Group.of((name,))
    keys = jax.random.split(key, 5)
    h = config.hidden
    return processor(config).init(keys[4]), {
        "encode_inputs": encoders.init(keys[0], name, specs.INPUT, group.inputs, h),
        "encode_hints": encoders.init(keys[1], name, specs.HINT, group.hints, h),
        "decode_hints": decoders.init(keys[2], group.hints, h, False),
        "decode_outputs": decoders.init(keys[3], group.outputs, h, False),
    }


def tables(name: str) -> net.Tables:
    """What the channels of a task are."""
    return jax.tree.map(lambda v: v[0], net.tables(net.Group.of((name,))))


def run(params: tuple[PyTree, PyTree], name: str, batch: tasks.Batch, config: Config) -> Outcome:
    """Runs with all their hints, for training: T - 1 steps, after which a longer one is read.

    Args:
        params: from `init`.
        name: the task.
        batch: runs, of whose hints T were kept.
        config: the network.
    """
    room = jax.tree.leaves(batch.hints)[0].shape[0]
    step, carry = _start(params, name, batch, config, max(room - 2, 0))
    table, mask = tables(name), _mask(batch)
    following = jax.tree.map(lambda v: v[1:], batch.hints)
    when = jnp.arange(max(room - 1, 0), dtype=jnp.int32)

    def body(carry, x):
        truth, t = x
        carry, logits = step(carry, t)
        valid = (t + 1 < batch.length).astype(jnp.float32)
        return carry, _tally(logits, truth, table.hints, batch.graph, mask, valid)

    if room == 1:
        carry, _ = step(carry, jnp.int32(0))
        return Outcome(*_finish(params, name, batch, config, carry[-1]), None)
    carry, tallies = jax.lax.scan(body, carry, (following, when))
    hints = jax.tree.map(lambda v: jnp.sum(v, axis=0), tallies)
    return Outcome(*_finish(params, name, batch, config, carry[-1]), hints)


def test(params: tuple[PyTree, PyTree], name: str, batch: tasks.Batch, config: Config) -> Outcome:
    """Runs of which the first hint is known, each to its end; memory does not grow with steps."""
    last = jnp.maximum(jnp.max(batch.length) - 1, 1)
    step, carry = _start(params, name, batch, config, last - 1)

    def body(state):
        t, carry = state
        return t + 1, step(carry, t)[0]

    _, carry = jax.lax.while_loop(lambda state: state[0] < last, body, (jnp.int32(0), carry))
    return Outcome(*_finish(params, name, batch, config, carry[-1]), None)


def _mask(batch):
    size = batch.inputs.node.shape[1]
    inside = jnp.arange(size, dtype=jnp.int32)[:, None] < batch.graph.nodes[None]
    return inside.astype(jnp.float32)


def _prepare(params, table, config):
    shared, own = params
    both = (table.inputs, table.hints)
    encoder = encoders.prepare(own["encode_inputs"], own["encode_hints"], both)
    edges = dense.Edges(encoder.edge, encoder.edge_b)
    of = lambda stage: decoders.prepare(own[stage], edges, shared, jnp.float32)
    return encoder, processor(config).prepare(shared, edges), of


def _start(params, name, batch, config, last):
    """(step(carry, t) -> (carry, logits of the hints), the first carry); `last` bounds t."""
    table, mask, graph = tables(name), _mask(batch), batch.graph
    encoder, processed, decoder_of = _prepare(params, table, config)
    decoder = decoder_of("decode_hints")
    apply = processor(config).apply
    joined = processors.union(graph)
    first = jax.tree.map(lambda v: v[0], batch.hints)
    if first.pointer is not None:
        # As it is fed in: on the edges that begin in the pointing node.
        on = tasks.pointing(first.pointer, graph).astype(jnp.float32)
        first = first._replace(pointer=_turned(on, graph))
    given = batch.inputs
    end = jnp.clip(batch.length - 2, 0, last)

    def step(carry, t):
        hidden, hints, kept = carry
        node = encoders.node_features(encoder, given, hints)
        of_graph = encoders.graph_features(encoder, given, hints)
        parts = [given.edge] + ([] if hints.pointer is None else [hints.pointer])
        x = jnp.concatenate(parts)
        z = jnp.concatenate([node, hidden])
        after = apply(processed, z, x, of_graph, joined)
        h_t = jnp.concatenate([node, hidden, after])
        logits = _decode(decoder, h_t, x, of_graph, mask, joined)
        now = Kept(h_t, x, of_graph)
        kept = jax.tree.map(lambda a, b: jnp.where(t == end, a, b), now, kept)
        return (after, _soften(logits, table.hints, graph, mask), kept), logits

    h, (size, count) = config.hidden, mask.shape
    channels, edges = encoder.edge.shape[0], graph.senders.shape[0]
    nothing = Kept(
        jnp.zeros((3 * h, size, count)), jnp.zeros((channels, edges, count)), jnp.zeros((h, count))
    )
    return step, (jnp.zeros((h, size, count)), first, nothing)


def _finish(params, name, batch, config, kept):
    """(logits of the outputs, their tally)."""
    table, mask = tables(name), _mask(batch)
    decoder = _prepare(params, table, config)[2]("decode_outputs")
    logits = _decode(decoder, *kept, mask, processors.union(batch.graph))
    valid = jnp.ones(mask.shape[1])
    return logits, _tally(logits, batch.outputs, table.outputs, batch.graph, mask, valid)


def _turned(on, graph):
    """(P, E, B) of edges, read at the same edges in the other direction."""
    return jnp.take_along_axis(on, graph.reverse[None], axis=1)


def _decode(decoder, h_t, x, of_graph, mask, joined) -> Values:
    """Logits of one stage."""
    parts = iter(decoder.nodes(h_t))
    node, _, _ = next(parts), next(parts), next(parts)
    top = jnp.max(jnp.where(mask[None] > 0, h_t, -jnp.inf), axis=1)
    (graph,) = decoder.graph(jnp.concatenate([top, of_graph]))
    pointers = []
    for w, b, _, score, score_b in decoder.pointer:
        receiver = processors.rows(next(parts))[joined.receivers]
        sender = processors.rows(next(parts) + b[:, None, None])[joined.senders]
        either = jnp.maximum(receiver, sender + processors.rows(x) @ w)
        pointers.append((either @ score + score_b).reshape(x.shape[1:]))
    return Values(node, None, graph, jnp.stack(pointers) if pointers else None, None)


def _log_pointer(logits, graph, size):
    """log softmax over the edges that end in a node, (P, E, B)."""
    joined = processors.union(graph)
    count = size * graph.nodes.shape[0]
    flat = segments.log_softmax(processors.rows(logits), joined.receivers, joined.real, count)
    return flat.T.reshape(logits.shape)


def _plain(values, like):
    """The node and graph probes alone, as the dense losses take them."""
    none = jnp.zeros((0, 1, like.shape[1]))
    return Values(values.node, none, values.graph, None, None)


def _soften(logits, table, graph, mask):
    soft = losses.soften(_plain(logits, mask), table, mask)
    if logits.pointer is None:
        return soft._replace(edge=None)
    shares = jnp.exp(_log_pointer(logits.pointer, graph, mask.shape[0]))
    return soft._replace(edge=None, pointer=_turned(shares, graph))


def _tally(logits, truth, table, graph, mask, valid):
    tallied = losses.tally(_plain(logits, mask), _plain(truth, mask), table, mask, valid)
    if logits.pointer is None:
        return tallied
    on = tasks.pointing(truth.pointer, graph)
    log_p = _log_pointer(logits.pointer, graph, mask.shape[0])
    total = -jnp.sum(jnp.where(on, log_p, 0.0) * valid[None, None], axis=(1, 2))
    count = jnp.broadcast_to(jnp.sum(mask * valid[None]), total.shape)
    with_pointer = lambda t, v: t._replace(pointer=v)
    return losses.Tally(with_pointer(tallied.total, total), with_pointer(tallied.count, count))
