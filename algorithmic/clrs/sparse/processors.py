"""Processors on edge lists: messages along edges, gathered where they meet.

Parameters and `prepare` are those of the dense processors (`algorithmic.clrs.processors`), so that
a model goes from one to the other; on a graph's edges both compute the same. MPNN and PGN are one
here: a node hears its neighbours, whoever they are. There are no triplets.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from algorithmic.clrs import processors as dense
from algorithmic.clrs.sparse import segments
from algorithmic.clrs.sparse.graphs import Graph
from fl_jax.core import errors
from fl_jax.core.types import Array, Bool, Float, Int, PyTree

NAMES = ("mpnn", "gmpnn", "pgn", "gat", "gatv2")
REDUCTIONS = ("max", "sum")


class Union(NamedTuple):
    """All graphs of a batch as one: node i of graph b is number i B + b."""

    senders: Int[Array, " K"]
    receivers: Int[Array, " K"]
    real: Bool[Array, " K"]


class Processor(NamedTuple):
    """Pure functions, as `dense.Processor`; apply(prepared, z, x, graph, union) -> (h, N, B)."""

    init: Callable[[Array], PyTree]
    prepare: Callable[..., PyTree]
    apply: Callable[..., Array]


def union(graph: Graph) -> Union:
    """The batch as one graph."""
    batch = graph.senders.shape[1]
    of = lambda v: (v * batch + jnp.arange(batch, dtype=jnp.int32)[None]).reshape(-1)
    return Union(of(graph.senders), of(graph.receivers), graph.real.reshape(-1))


def rows(v: Float[Array, "h ..."]) -> Float[Array, "K h"]:
    """One row per node or edge."""
    return v.reshape(v.shape[0], -1).T


def make(
    name: str = "gmpnn", *, hidden: int = 128, layer_norm: bool = True, reduction: str = "max"
) -> Processor:
    """The processor of that name.

    Args:
        name: one of `NAMES`.
        hidden: h.
        layer_norm: normalise the new hidden state before the gate.
        reduction: of messages: max or sum.

    Raises:
        ConfigError: an unknown name or reduction.
    """
    errors.one_of("sparse processor", name, NAMES)
    errors.one_of("reduction", reduction, REDUCTIONS)
    found = dense.make(name, hidden=hidden, layer_norm=layer_norm)
    gather = segments.maximum if reduction == "max" else segments.total
    attends = name in ("gat", "gatv2")
    return Processor(found.init, found.prepare, _attention if attends else _messages(name, gather))


def _messages(name, gather):
    gated = name == "gmpnn"

    def apply(
        prepared: PyTree,
        z: Float[Array, "z N B"],
        x: Float[Array, "C E B"],
        graph: Float[Array, "h B"],
        union: Union,
    ) -> Float[Array, "h N B"]:
        p = prepared
        sender, receiver, out_z, *rest = p["z"](z)
        (of_graph,) = p["graph"](graph)
        sender = sender + of_graph[:, None] + p["edge_b"][:, None, None]
        shape = sender.shape
        sent = rows(sender)[union.senders] + rows(receiver)[union.receivers]
        m = jax.nn.relu(sent + rows(x) @ p["edge"])
        m = jax.nn.relu(m @ p["mlp1"].master + p["mlp1_b"][None])
        m = m @ p["mlp2"].master
        count = shape[1] * shape[2]
        if gather is segments.total:
            m = m + p["mlp2_b"][None]
        m = gather(m, union.receivers, union.real, count)
        m = m.T.reshape(shape)
        if gather is segments.maximum:
            m = m + p["mlp2_b"][:, None, None]
        out_m, *gate_m = p["m"](m)
        out = jax.nn.relu(out_z + out_m)
        if p["norm"] is not None:
            out = dense.norm(p["norm"], out)
        if gated:
            (gate,) = p["gate"](jax.nn.relu(rest[0] + gate_m[0]))
            gate = jax.nn.sigmoid(gate)
            out = gate * out + (1 - gate) * z[-shape[0] :]
        return out

    return apply


def _attention(prepared, z, x, graph, union):
    """A sender attends to the receivers of its edges."""
    p = prepared
    to, sent, values, skip = p["z"](z)
    shape = values.shape
    count = shape[1] * shape[2]
    (edge,), (of_graph,) = p["edge"](x), p["graph"](graph)
    sent = sent + of_graph[:, None]
    logits = rows(to)[union.senders] + rows(sent)[union.receivers] + rows(edge)
    logits = jax.nn.leaky_relu(logits)
    if p["score"] is not None:
        logits = rows(p["score"](logits.T)[0])
    shares = jnp.exp(segments.log_softmax(logits, union.senders, union.real, count))
    heard = segments.total(shares * rows(values)[union.receivers], union.senders, union.real, count)
    out = jax.nn.relu(heard.T.reshape(shape) + skip)
    return out if p["norm"] is None else dense.norm(p["norm"], out)
