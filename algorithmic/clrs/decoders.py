"""Decoders: node, edge and graph representations to logits, by location and kind of probe."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from algorithmic.clrs import initial, layout, pairs
from algorithmic.clrs.layout import Counts, Values
from algorithmic.clrs.processors import Edges, Map, side_by_side
from fl_jax.core.types import Array, Float, Key, PyTree


def init(
    key: Key[Array, ""], padded: Counts, hidden: int, triplets: bool, *, blocks: int = 3
) -> PyTree:
    """Weights by location; h_t is `blocks` h wide, e_t 2 h with edge outputs and h without."""
    keys = iter(jax.random.split(key, 16))
    of_node = blocks * hidden
    h, wide = hidden, 2 * hidden if triplets else hidden
    make = lambda *shape, fan_in: initial.normal(next(keys), shape, fan_in)
    node, edge, graph, pointer, pair = padded
    params = {
        "node": {"w": make(of_node, node, fan_in=of_node), "b": jnp.zeros(node)},
        "edge": {
            "from": make(of_node, edge, fan_in=of_node),
            "to": make(of_node, edge, fan_in=of_node),
            "edge": make(wide, edge, fan_in=wide),
            "b": jnp.zeros((3, edge)),
        },
        "graph": {
            "node": make(of_node, graph, fan_in=of_node),
            "graph": make(h, graph, fan_in=h),
            "b": jnp.zeros((2, graph)),
        },
        "pointer": {
            "from": make(pointer, of_node, h, fan_in=of_node),
            "to": make(pointer, of_node, h, fan_in=of_node),
            "edge": make(pointer, wide, h, fan_in=wide),
            "b": jnp.zeros((pointer, 3, h)),
            "score": make(pointer, h, fan_in=h),
            "score_b": jnp.zeros(pointer),
        },
        "edge_pointer": {
            "from": make(pair, of_node, h, fan_in=of_node),
            "to": make(pair, of_node, h, fan_in=of_node),
            "edge": make(pair, wide, h, fan_in=wide),
            "target": make(pair, of_node, h, fan_in=of_node),
            "b": jnp.zeros((pair, 4, h)),
            "score": make(pair, h, fan_in=h),
            "score_b": jnp.zeros(pair),
        },
    }
    return params


class Decoder(NamedTuple):
    """One stage's decoders, ready for the loop over steps."""

    nodes: Map  # everything that reads h_t
    graph: Map
    outputs: tuple | None  # (weight, bias) from triplet maxima to edge outputs
    edge: tuple  # of edge probes: channels' map (C, E), bias, edge outputs' weight
    pointer: tuple  # the same per pointer, and its last layer
    edge_pointer: tuple


def prepare(params: PyTree, edges: Edges, processor: PyTree, dtype) -> Decoder:
    """Maps composed and laid side by side.

    Args:
        params: from `init`.
        edges: the encoder of edges.
        processor: the processor's parameters, whose `t_out` makes edge outputs.
        dtype: of the products over pairs.
    """
    hidden = edges.w.shape[1]
    triplets = "t_out" in processor
    plain = lambda w, b=None: {"w": w, "b": jnp.zeros(w.shape[1]) if b is None else b}
    node, edge, top = params["node"], params["edge"], params["graph"]
    parts = [plain(node["w"], node["b"]), plain(edge["from"]), plain(edge["to"])]
    one = lambda stacked, i: jax.tree.map(lambda w: w[i], stacked)

    def reads(p, names):
        return [plain(p[k], p["b"][at]) for k, at in names]

    def scores(p):
        """(channels' map, bias, edge outputs' weight, last layer, its bias)."""
        w, b = edges.through({"w": p["edge"][:hidden], "b": p["b"][2]})
        wo = pairs.weight(p["edge"][hidden:], dtype) if triplets else None
        return w, b, wo, p["score"], p["score_b"]

    pointers = [one(params["pointer"], i) for i in range(params["pointer"]["b"].shape[0])]
    quads = [one(params["edge_pointer"], i) for i in range(params["edge_pointer"]["b"].shape[0])]
    for p in pointers:
        parts += reads(p, (("from", 0), ("to", 1)))
    for p in quads:
        parts += reads(p, (("from", 0), ("to", 1), ("target", 3)))
    w, b = edges.through({"w": edge["edge"][:hidden], "b": jnp.sum(edge["b"], 0)})
    outputs = None
    if triplets:
        t_out = processor["t_out"]
        outputs = (pairs.weight(t_out["w"], dtype), t_out["b"])
    return Decoder(
        side_by_side(*parts),
        side_by_side(plain(jnp.concatenate([top["node"], top["graph"]]), jnp.sum(top["b"], 0))),
        outputs,
        (pairs.weight(w), b, pairs.weight(edge["edge"][hidden:], dtype) if triplets else None),
        tuple(scores(p) for p in pointers),
        tuple(scores(p) for p in quads),
    )


def decode(
    decoder: Decoder,
    h_t: Float[Array, "H N B"],
    x: Float[Array, "C N N B"],
    t: Float[Array, "f N N B"] | None,
    graph: Float[Array, "h B"],
    mask: Float[Array, "N B"],
) -> Values:
    """Logits of all slots of one stage.

    Args:
        decoder: from `prepare`.
        h_t: encoded nodes, old and new hidden states, one after another.
        x: edges as channels.
        t: triplet maxima, None without triplets.
        graph: encoded graph features.
        mask: 1 on real nodes.

    Returns:
        node (C, N, B), edge (C, N N, B), graph (C, B), pointer (P, N, N, B), row = the pointing
        node, edge_pointer (Q, N N, N, B), targets last; both None where there are none.
    """
    parts = iter(decoder.nodes(h_t))
    node, sent, received = next(parts), next(parts), next(parts)
    n, batch = h_t.shape[1:]
    w_x, b, wo = decoder.edge
    needed = b.shape[0] or decoder.pointer or decoder.edge_pointer
    outputs = None
    if needed and decoder.outputs is not None:
        outputs = pairs.edge_outputs(*decoder.outputs, t)
    if b.shape[0]:
        edge = sent[:, :, None] + received[:, None] + pairs.product(w_x, x)
        edge = edge + b[:, None, None, None]
        if outputs is not None:
            edge = edge + pairs.product(wo, outputs.o)
    else:
        edge = jnp.zeros((0, n, n, batch))
    top = jnp.max(jnp.where(mask[None] > 0, h_t, -jnp.inf), axis=1)
    (of_graph,) = decoder.graph(jnp.concatenate([top, graph]))
    pointers = []
    for w, b, wo, score, score_b in decoder.pointer:
        first, second = next(parts), next(parts) + b[:, None, None]
        # Held as [j, i], so that the edge features need no transposition; the scores are turned.
        scores = pairs.pointer_scores(x, w, outputs, wo, first, second, score)
        pointers.append(jnp.swapaxes(scores, 0, 1) + score_b)
    quads = [
        _edge_pointer(scores, next(parts), next(parts), next(parts), x, outputs)
        for scores in decoder.edge_pointer
    ]
    stack = lambda parts: jnp.stack(parts) if parts else None
    return Values(node, layout.paired(edge, 1), of_graph, stack(pointers), stack(quads))


def _edge_pointer(scores, sent, received, target, x, outputs):
    """score_ijk = w max(q_ij, r_k), one k after another, as (N N, N, B)."""
    w, b, wo, score, score_b = scores
    q = sent[:, :, None] + received[:, None] + pairs.product(pairs.weight(w), x)
    q = q + b[:, None, None, None]
    if outputs is not None:
        q = q + pairs.product(wo, outputs.o)
    last = pairs.weight(score[:, None])

    @jax.checkpoint
    def column(r_k):
        return pairs.product(last, jnp.maximum(q, r_k[:, None, None]))[0]

    found = jax.lax.map(column, jnp.moveaxis(target, 1, 0))  # (k, i, j, B)
    return layout.paired(jnp.moveaxis(found, 0, 2), 0) + score_b


def log_sinkhorn(
    x: Float[Array, "*batch N N"],
    mask: Float[Array, "*batch N"],
    steps: int,
    temperature: float,
    key: Key[Array, ""] | None = None,
) -> Float[Array, "*batch N N"]:
    """Logarithm of a doubly stochastic matrix with a zero diagonal [Mena et al. 2018].

    Args:
        x: logits.
        mask: 1 on real nodes; rows and columns of the others take no part.
        steps: rounds of normalising rows, then columns.
        temperature: what the logits are divided by.
        key: for Gumbel noise on the logits while training; None = none.
    """
    n = x.shape[-1]
    if key is not None:
        uniform = jax.random.uniform(key, x.shape)
        x = x - jnp.log(-jnp.log(uniform + 1e-12) + 1e-12)
    x = x / temperature
    real = (mask[..., :, None] * mask[..., None, :]) > 0
    eye = jnp.broadcast_to(jnp.eye(n, dtype=bool), x.shape)
    x = jnp.where(real, jnp.where(eye, x - 1e6, x), -1e9)
    # Padding is a permutation of its own, the identity, so that every sum has a term.
    x = jnp.where(~real & eye, 0.0, x)

    def normalise(x, _):
        return jax.nn.log_softmax(jax.nn.log_softmax(x, axis=-1), axis=-2), None

    return jax.lax.scan(normalise, x, length=steps)[0]
