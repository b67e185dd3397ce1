"""Encodings from which the hints can be rebuilt [ReNAR, AAAI 2026, "Richer Representations for
NAR via Auxiliary Reconstruction"].

Decoders of the same form as the hints' read the true present hints back out of what the encoder
made of the (predicted) present hints, and their loss is added with a weight lambda, 0.1 in the
paper. So that encodings of nodes know of the edges, they pass through one layer of messages with
a gate per node:

    m_j = max_i W2 relu(W1 relu(sender_i + receiver_j + We e_ij + Wg g) + b1) + b2
    x_j <- x_j + sigmoid(w [x_j, m_j] + b) m_j

The layer and the decoders belong to the task. The form of the layer beyond "a graph layer and a
gate per node" is our choice; the masked variant of the paper (M-ReNAR) is not here.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from algorithmic.clrs import decoders, initial, pairs
from algorithmic.clrs.layout import Counts, Values
from algorithmic.clrs.processors import Edges
from fl_jax.core.types import Array, Float, Key, PyTree


class Rebuild(NamedTuple):
    """The layer and the decoders, ready for the loop over steps."""

    layer: PyTree
    edge: tuple[Array, Array]  # the channels' map to messages, and its bias
    hints: decoders.Decoder


def init(key: Key[Array, ""], padded: Counts, hidden: int) -> PyTree:
    """Weights of the layer and of the decoders, which read encodings alone."""
    keys = jax.random.split(key, 8)
    names = ("sender", "receiver", "edge", "graph", "mlp1", "mlp2")
    layer = {k: initial.linear(at, hidden, hidden) for k, at in zip(names, keys[:6], strict=True)}
    layer["gate"] = initial.linear(keys[6], 2 * hidden, 1)
    return {"layer": layer, "hints": decoders.init(keys[7], padded, hidden, False, blocks=1)}


def prepare(params: PyTree, edges: Edges, dtype) -> Rebuild:
    """Maps composed once for all steps; products over pairs take operands of `dtype`."""
    layer = dict(params["layer"])
    for name in ("sender", "receiver", "graph", "gate"):
        layer[name] = pairs.weight(layer[name]["w"]), layer[name]["b"]
    for name in ("mlp1", "mlp2"):
        layer[name] = pairs.weight(layer[name]["w"], dtype), layer[name]["b"]
    edge = edges.through(layer.pop("edge"))
    return Rebuild(layer, edge, decoders.prepare(params["hints"], edges, {}, dtype))


def encode(
    rebuild: Rebuild,
    node: Float[Array, "h N B"],
    x: Float[Array, "C N N B"],
    graph: Float[Array, "h B"],
    mask: Array,
) -> Float[Array, "h N B"]:
    """Encodings of nodes that have heard their edges; `mask` (N, B) bool."""
    layer, (edge, edge_b) = rebuild.layer, rebuild.edge

    def linear(name, v):
        w, b = layer[name]
        return pairs.product(w, v) + b.reshape(-1, *[1] * (v.ndim - 1))

    sender = linear("sender", node) + linear("graph", graph)[:, None] + edge_b[:, None, None]
    (w1, b1), (w2, b2) = layer["mlp1"], layer["mlp2"]
    m = pairs.messages(x, edge, sender, linear("receiver", node), w1, b1, w2, b2, mask[:, None])
    return node + jax.nn.sigmoid(linear("gate", jnp.concatenate([node, m]))) * m


def logits(
    rebuild: Rebuild,
    node: Float[Array, "h N B"],
    x: Float[Array, "C N N B"],
    graph: Float[Array, "h B"],
    mask: Float[Array, "N B"],
) -> Values:
    """Logits of the present hints, out of the encodings alone."""
    return decoders.decode(rebuild.hints, node, x, None, graph, mask)
