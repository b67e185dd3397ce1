"""Encoders: channels to node, edge and graph features; one linear map per probe [Ibarz 2022, 3].

An encoder of a probe with c channels is a (c, h) block of one table; its bias stands in the row
of the probe's first channel, so that padding has none.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from algorithmic.clrs import initial, layout, specs
from algorithmic.clrs.layout import Counts, Values
from fl_jax.core.types import Array, Float, Key, PyTree


class Features(NamedTuple):
    """What the processor starts from; edges stay channels."""

    node: Float[Array, "B N h"]
    edge: Float[Array, "B N N C"]
    graph: Float[Array, "B h"]


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


def one_hot(given: Values, nodes: int) -> Values:
    """True probes as they are fed in: pointers (B, N, P) as matrices (B, P, N, N)."""

    def matrix(index):
        at = jax.lax.broadcasted_iota(jnp.int32, (*index.shape, nodes), index.ndim)
        return (index[..., None] == at).astype(jnp.float32)

    pointer, edge_pointer = given.pointer, given.edge_pointer
    return given._replace(
        pointer=matrix(jnp.moveaxis(pointer, -1, 1)) if pointer.shape[-1] else None,
        edge_pointer=matrix(jnp.moveaxis(edge_pointer, -1, 1)) if edge_pointer.shape[-1] else None,
    )


def edge_channels(
    given: Values, tables: Values, mask: Float[Array, "B N"]
) -> Float[Array, "B N N C"]:
    """Everything that goes into edge features: edge probes, node pointers, and of an edge pointer
    its mean over senders and its mean over receivers, which commute with the linear maps.

    Slots that a task does not have are zero: what fills them points somewhere too.
    """
    parts = [given.edge]
    if given.pointer is not None:
        parts.append(jnp.moveaxis(given.pointer, 1, -1) * tables.pointer[None, None, None])
    if given.edge_pointer is not None:
        count = jnp.sum(mask, axis=1).reshape(-1, 1, 1, 1)
        p = given.edge_pointer * tables.edge_pointer.reshape(1, -1, 1, 1, 1)
        p = p * mask[:, None, :, None, None] * mask[:, None, None, :, None]
        parts.append(jnp.moveaxis(jnp.sum(p, axis=2) / count, 1, -1))
        parts.append(jnp.moveaxis(jnp.sum(p, axis=3) / count, 1, -1))
    return jnp.concatenate(parts, axis=-1)


def edge_tables(params: PyTree, tables: Values) -> tuple[Array, Array]:
    """(weights (C, h), total bias (h,)) that belong to `edge_channels`."""
    parts = [(params["edge"], tables.edge.head), (params["pointer"], tables.pointer)]
    parts += [(params[k], tables.edge_pointer) for k in ("over_senders", "over_receivers")]
    w = jnp.concatenate([p["w"] for p, _ in parts])
    return w, sum(_bias(p, head) for p, head in parts)


def _bias(params, head):
    return head @ params["b"]


def node_features(params: PyTree, tables: Values, given: Values) -> Float[Array, "B N h"]:
    """Node probes, encoded and added up."""
    return given.node @ params["node"]["w"] + _bias(params["node"], tables.node.head)[None, None]


def graph_features(params: PyTree, tables: Values, given: Values) -> Float[Array, "B h"]:
    """Graph probes, encoded and added up."""
    return given.graph @ params["graph"]["w"] + _bias(params["graph"], tables.graph.head)[None]
