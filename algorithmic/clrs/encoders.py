"""Encoders: channels to node, edge and graph features; one linear map per probe [Ibarz 2022, 3].

An encoder of a probe with c channels is a (c, h) block of one table; its bias stands in the row
of the probe's first channel, so that padding has none.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from algorithmic.clrs import initial, layout, specs
from algorithmic.clrs.layout import Counts, Values
from algorithmic.clrs.pairs import Weight, product, weight
from fl_jax.core.types import Array, Float, Key, PyTree


class Encoder(NamedTuple):
    """Inputs' and hints' tables of one task as one, ready for the loop over steps."""

    node: Weight  # (C, h)
    node_b: Float[Array, " h"]
    edge: Float[Array, "C h"]  # of `edge_channels`, to be composed with what reads the edges
    edge_b: Float[Array, " h"]
    graph: Weight
    graph_b: Float[Array, " h"]


def init(key: Key[Array, ""], name: str, stage: str, padded: Counts, hidden: int) -> PyTree:
    """Tables of weights `w` (C, h) and biases `b` (C, h), by location.

    Weights are truncated normals of deviation 1 / sqrt(fan in), those of scalar hints of
    1 / sqrt(h) ('xavier_on_scalars').
    """
    mine = layout.slots(name, stage)
    keys = jax.random.split(key, 6)

    def table(key, probes, count):
        w = []
        for _, p in probes:
            size = max(p.classes, 1)
            scalar = stage == specs.HINT and p.kind == specs.SCALAR
            part = jax.random.fold_in(key, len(w))
            w.append(initial.normal(part, (size, hidden), hidden if scalar else size))
        have = sum(len(part) for part in w)
        w.append(jnp.zeros((count - have, hidden)))
        return {"w": jnp.concatenate(w), "b": jnp.zeros((count, hidden))}

    return {
        "node": table(keys[0], mine.node, padded.node),
        "edge": table(keys[1], mine.edge, padded.edge),
        "graph": table(keys[2], mine.graph, padded.graph),
        "pointer": table(keys[3], mine.pointer, padded.pointer),
        "over_senders": table(keys[4], mine.edge_pointer, padded.edge_pointer),
        "over_receivers": table(keys[5], mine.edge_pointer, padded.edge_pointer),
    }


def prepare(inputs: PyTree, hints: PyTree, tables: tuple[Values, Values]) -> Encoder:
    """Both stages side by side.

    Args:
        inputs: parameters of the inputs' encoders.
        hints: of the hints' encoders.
        tables: what the channels of both are.
    """
    both = tuple(zip((inputs, hints), tables, strict=True))
    joined = lambda where: jnp.concatenate([p[where]["w"] for p, _ in both])
    bias = lambda where, head: sum(head(t) @ p[where]["b"] for p, t in both)
    edges = [_edge_table(p, t) for p, t in both]
    return Encoder(
        weight(joined("node")),
        bias("node", lambda t: t.node.head),
        jnp.concatenate([w for w, _ in edges]),
        sum(b for _, b in edges),
        weight(joined("graph")),
        bias("graph", lambda t: t.graph.head),
    )


def _edge_table(params, tables):
    """(weights (C, h), total bias (h,)) that belong to `edge_channels`."""
    parts = [(params["edge"], tables.edge.head), (params["pointer"], tables.pointer)]
    parts += [(params[k], tables.edge_pointer) for k in ("over_senders", "over_receivers")]
    return jnp.concatenate([p["w"] for p, _ in parts]), sum(head @ p["b"] for p, head in parts)


def one_hot(given: Values, nodes: int) -> Values:
    """True probes as they are fed in: pointers (P, N, B) as matrices (P, N, N, B), those of pairs
    (Q, N N, B) as (Q, N N, N, B)."""

    def matrix(index):
        at = jnp.arange(nodes, dtype=jnp.int32)[:, None]
        at = at.reshape((1,) * (index.ndim - 1) + at.shape)
        return (index[..., None, :] == at).astype(jnp.float32)

    pointer, edge_pointer = given.pointer, given.edge_pointer
    return given._replace(
        pointer=matrix(pointer) if pointer.shape[0] else None,
        edge_pointer=matrix(edge_pointer) if edge_pointer.shape[0] else None,
    )


def edge_channels(
    given: Values, tables: Values, mask: Float[Array, "N B"]
) -> Float[Array, "C N N B"]:
    """Everything that goes into edge features: edge probes, node pointers, and of an edge pointer
    its mean over senders and its mean over receivers, which commute with the linear maps.

    Slots that a task does not have are zero: what fills them points somewhere too.
    """
    nodes = mask.shape[0]
    live = lambda flags: jnp.asarray(flags).reshape(-1, 1, 1, 1)
    parts = [layout.unpaired(given.edge, 1, nodes)]
    if given.pointer is not None:
        parts.append(given.pointer * live(tables.pointer))
    if given.edge_pointer is not None:
        count = jnp.sum(mask, axis=0)[None, None, None]
        real = layout.paired(mask[:, None] * mask[None], 0)
        p = given.edge_pointer * live(tables.edge_pointer) * real[None, :, None]
        # One after another, each of rank four: (i, j, target, B).
        each = [layout.unpaired(of_slot, 0, nodes) for of_slot in p]
        for axis in (0, 1):
            parts.append(jnp.stack([jnp.sum(v, axis=axis) for v in each]) / count)
    return jnp.concatenate(parts, axis=0)


def node_features(encoder: Encoder, inputs: Values, hints: Values) -> Float[Array, "h N B"]:
    """Node probes, encoded and added up."""
    x = jnp.concatenate([inputs.node, hints.node], axis=0)
    return product(encoder.node, x) + encoder.node_b[:, None, None]


def graph_features(encoder: Encoder, inputs: Values, hints: Values) -> Float[Array, "h B"]:
    """Graph probes, encoded and added up."""
    x = jnp.concatenate([inputs.graph, hints.graph], axis=0)
    return product(encoder.graph, x) + encoder.graph_b[:, None]
