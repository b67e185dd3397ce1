"""Decoders: node, edge and graph representations to logits, by location and kind of probe."""

import jax
import jax.numpy as jnp

from algorithmic.clrs import initial
from algorithmic.clrs.layout import Counts, Values
from algorithmic.clrs.processors import Edges, edge_outputs
from fl_jax.core.types import Array, Float, Key, PyTree


def init(key: Key[Array, ""], padded: Counts, hidden: int, triplets: bool) -> PyTree:
    """Weights by location; h_t is 3 h wide, e_t 2 h with edge outputs and h without."""
    keys = iter(jax.random.split(key, 16))
    h, wide = hidden, 2 * hidden if triplets else hidden
    make = lambda *shape, fan_in: initial.normal(next(keys), shape, fan_in)
    node, edge, graph, pointer, pair = padded
    params = {
        "node": {"w": make(3 * h, node, fan_in=3 * h), "b": jnp.zeros(node)},
        "edge": {
            "from": make(3 * h, edge, fan_in=3 * h),
            "to": make(3 * h, edge, fan_in=3 * h),
            "edge": make(wide, edge, fan_in=wide),
            "b": jnp.zeros((3, edge)),
        },
        "graph": {
            "node": make(3 * h, graph, fan_in=3 * h),
            "graph": make(h, graph, fan_in=h),
            "b": jnp.zeros((2, graph)),
        },
        "pointer": {
            "from": make(pointer, 3 * h, h, fan_in=3 * h),
            "to": make(pointer, 3 * h, h, fan_in=3 * h),
            "edge": make(pointer, wide, h, fan_in=wide),
            "b": jnp.zeros((pointer, 3, h)),
            "score": make(pointer, h, fan_in=h),
            "score_b": jnp.zeros(pointer),
        },
        "edge_pointer": {
            "from": make(pair, 3 * h, h, fan_in=3 * h),
            "to": make(pair, 3 * h, h, fan_in=3 * h),
            "edge": make(pair, wide, h, fan_in=wide),
            "target": make(pair, 3 * h, h, fan_in=3 * h),
            "b": jnp.zeros((pair, 4, h)),
            "score": make(pair, h, fan_in=h),
            "score_b": jnp.zeros(pair),
        },
    }
    return params


def decode(
    params: PyTree,
    processor: PyTree,
    h_t: Float[Array, "B N H"],
    edges: Edges,
    t: Float[Array, "B N N f"] | None,
    graph: Float[Array, "B h"],
    mask: Float[Array, "B N"],
) -> Values:
    """Logits of all slots of one stage.

    Args:
        params: from `init`.
        processor: the processor's parameters, which turn `t` into edge outputs.
        h_t: encoded nodes, old and new hidden states side by side.
        edges: encoded edges, as channels.
        t: triplet maxima, None without triplets.
        graph: encoded graph features.
        mask: 1 on real nodes.

    Returns:
        node (B, N, C), edge (B, N, N, C), graph (B, C), pointer (B, P, N, N), row = the pointing
        node, edge_pointer (B, Q, N, N, N) or None where there are none.
    """
    hidden = edges.w.shape[1]
    outputs = None if t is None else edge_outputs(processor, t)
    of_edges = lambda w, b: _edge_map(w, b, edges, outputs, hidden)
    node = h_t @ params["node"]["w"] + params["node"]["b"][None, None]
    edge = graph_logits = None
    p = params["edge"]
    if p["b"].shape[1]:
        edge = (
            (h_t @ p["from"])[:, :, None]
            + (h_t @ p["to"])[:, None]
            + of_edges(p["edge"], jnp.sum(p["b"], 0))
        )
    else:
        edge = jnp.zeros((*h_t.shape[:2], h_t.shape[1], 0))
    p = params["graph"]
    top = jnp.max(jnp.where(mask[..., None] > 0, h_t, -jnp.inf), axis=1)
    graph_logits = top @ p["node"] + graph @ p["graph"] + jnp.sum(p["b"], 0)[None]
    pointers = [
        _pointer(jax.tree.map(lambda w, i=i: w[i], params["pointer"]), h_t, of_edges)
        for i in range(params["pointer"]["score_b"].shape[0])
    ]
    pairs = [
        _edge_pointer(jax.tree.map(lambda w, i=i: w[i], params["edge_pointer"]), h_t, of_edges)
        for i in range(params["edge_pointer"]["score_b"].shape[0])
    ]
    stack = lambda parts: jnp.stack(parts, axis=1) if parts else None
    return Values(node, edge, graph_logits, stack(pointers), stack(pairs))


def _edge_map(w, b, edges, outputs, hidden):
    """A linear map of e_t: its first half composed with the encoder."""
    from_channels = edges.linear({"w": w[:hidden], "b": b})
    return from_channels if outputs is None else from_channels + outputs @ w[hidden:]


def _pointer(p, h_t, of_edges):
    """score_ij = w max(p1_i, p2_j + p3_ji): note the transposed edge."""
    b = p["b"]
    first = h_t @ p["from"] + b[0][None, None]
    second = h_t @ p["to"] + b[1][None, None]
    third = of_edges(p["edge"], b[2])
    # Held as [j, i], so that the edge features need no transposition; the scores are turned.
    score = jnp.maximum(first[:, None], second[:, :, None] + third) @ p["score"]
    return jnp.swapaxes(score, 1, 2) + p["score_b"]


def _edge_pointer(p, h_t, of_edges):
    """score_ijk = w max(q_ij, r_k), one k after another: no tensor of rank five."""
    b = p["b"]
    q = (h_t @ p["from"] + b[0][None, None])[:, :, None] + (h_t @ p["to"] + b[1][None, None])[
        :, None
    ]
    q = q + of_edges(p["edge"], b[2])
    r = h_t @ p["target"] + b[3][None, None]

    @jax.checkpoint
    def column(r_k):
        return jnp.maximum(q, r_k[:, None, None]) @ p["score"]

    score = jax.lax.map(column, jnp.moveaxis(r, 1, 0))
    return jnp.moveaxis(score, 0, -1) + p["score_b"]


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
    for _ in range(steps):
        x = jax.nn.log_softmax(x, axis=-1)
        x = jax.nn.log_softmax(x, axis=-2)
    return x
