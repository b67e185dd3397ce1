"""Processors: one round of messages on a graph of nodes, edges and a global feature.

All stand behind one interface, three pure functions made by a factory:

    init(key) -> params
    prepare(params, edges) -> prepared, once for all steps
    apply(prepared, z, x, graph, mask, adjacency) -> (new hidden (h, N, B), triplets or None)

Features come first and the batch last (`pairs`). Edge features are never formed: they are sums of
linear maps of a few channels x and are only ever used through further linear maps, so the two are
composed, exactly (`Edges.through`).

Ibarz et al. 2022, 3.2; MPNN: Gilmer et al. 2017; PGN: Veličković et al. 2020; GAT: Veličković et
al. 2018; GATv2: Brody et al. 2022; Deep Sets: Zaheer et al. 2017.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from algorithmic.clrs import initial, pairs, recurrent
from fl_jax.core import errors
from fl_jax.core.types import Array, Float, PyTree

AGGREGATORS = ("max", "lstm")
NAMES = ("triplet_gmpnn", "triplet_mpnn", "mpnn", "gmpnn", "pgn", "gat", "gatv2", "deepsets")


class Processor(NamedTuple):
    """Pure functions."""

    init: Callable[[Array], PyTree]
    prepare: Callable[..., PyTree]
    apply: Callable[..., tuple[Array, Array | None]]


class Edges(NamedTuple):
    """The encoder of edges: e_ij = x_ij w + b."""

    w: Float[Array, "C h"]
    b: Float[Array, " h"]

    def through(self, params: PyTree) -> tuple[Array, Array]:
        """(weights (C, o), bias (o,)) of a linear map of e as one of the channels."""
        return self.w @ params["w"], self.b @ params["w"] + params["b"]


class Map(NamedTuple):
    """Linear maps of one input side by side, as one product."""

    w: pairs.Weight
    b: Float[Array, " o"]
    widths: tuple[int, ...]

    def __call__(self, x: Float[Array, "i ..."]) -> list[Float[Array, "o ..."]]:
        """What each of them gives."""
        out = pairs.product(self.w, x) + self.b.reshape(-1, *[1] * (x.ndim - 1))
        ends = [sum(self.widths[: k + 1]) for k in range(len(self.widths))]
        return [out[end - width : end] for end, width in zip(ends, self.widths, strict=True)]


jax.tree_util.register_pytree_node(
    Map, lambda m: ((m.w, m.b), m.widths), lambda widths, children: Map(*children, widths)
)


def side_by_side(*params: PyTree) -> Map:
    """The maps {"w": (i, o), "b": (o,)} of one input."""
    widths = tuple(p["w"].shape[1] for p in params)
    w = jnp.concatenate([p["w"] for p in params], axis=1)
    return Map(pairs.weight(w), jnp.concatenate([p["b"] for p in params]), widths)


def make(
    name: str = "triplet_gmpnn",
    *,
    hidden: int = 128,
    triplets: int = 8,
    layer_norm: bool = True,
    dtype: Any = jnp.float32,
    aggregator: str = "max",
) -> Processor:
    """The processor of that name.

    Args:
        name: one of `NAMES`. A `g` before `mpnn` gates the update, `triplet` adds edge outputs.
        hidden: h.
        triplets: features of a triplet.
        layer_norm: normalise the new hidden state before the gate.
        dtype: of the messages' products; everything else is float32.
        aggregator: what becomes of a node's messages: their maximum, or an LSTM over them in the
            order of the nodes (`recurrent`).

    Raises:
        ConfigError: an unknown name or aggregator, or one that the processor has no use for.
    """
    errors.one_of("processor", name, NAMES)
    errors.one_of("aggregator", aggregator, AGGREGATORS)
    if name in ("gat", "gatv2"):
        if aggregator != "max":
            raise errors.ConfigError(
                f"{name} adds up what it attends to and has no aggregator {aggregator!r}; choose"
                " one of the message passing processors."
            )
        return _attention(hidden, layer_norm, second=name == "gatv2")
    gated = name in ("triplet_gmpnn", "gmpnn")
    count = triplets if name.startswith("triplet") else 0
    return _messages(name, hidden, count, gated, layer_norm, dtype, aggregator == "lstm")


def _messages(name, hidden, triplets, gated, layer_norm, dtype, in_order):
    sparse, alone = name == "pgn", name == "deepsets"

    def init(key):
        keys = iter(jax.random.split(key, 24))
        of_z = lambda: initial.linear(next(keys), 2 * hidden, hidden)
        of_h = lambda out=hidden: initial.linear(next(keys), hidden, out)
        params = {
            "receiver": of_z(), "sender": of_z(), "edge": of_h(), "graph": of_h(),
            "mlp1": of_h(), "mlp2": of_h(), "out_z": of_z(), "out_m": of_h(),
        }  # fmt: skip
        if layer_norm:
            params["norm"] = {"scale": jnp.ones(hidden), "offset": jnp.zeros(hidden)}
        if triplets:
            z = lambda: initial.linear(next(keys), 2 * hidden, triplets)
            e = lambda: initial.linear(next(keys), hidden, triplets)
            params |= {"t1": z(), "t2": z(), "t3": z(), "e1": e(), "e2": e(), "e3": e(), "tg": e()}
            params["t_out"] = initial.linear(next(keys), triplets, hidden)
        if gated:
            params |= {"gate_z": of_z(), "gate_m": of_h(), "gate": of_h()}
            params["gate"]["b"] = jnp.full(hidden, -3.0, jnp.float32)
        if in_order:
            params["lstm"] = recurrent.init(next(keys), hidden)
        return params

    # Maps of z, of the graph, of the messages and of the edges, each group as one product.
    of_z = (
        ["sender", "receiver", "out_z"] + ["gate_z"] * gated + ["t1", "t2", "t3"] * (triplets > 0)
    )
    of_graph = ["graph"] + ["tg"] * (triplets > 0)
    of_m = ["out_m"] + ["gate_m"] * gated

    def prepare(params, edges):
        joined = lambda names: side_by_side(*(params[k] for k in names))
        message, bias = edges.through(params["edge"])
        prepared = {
            "z": joined(of_z), "graph": joined(of_graph), "m": joined(of_m), "edge": message,
            "edge_b": bias, "mlp1": pairs.weight(params["mlp1"]["w"], dtype),
            "mlp1_b": params["mlp1"]["b"], "mlp2": pairs.weight(params["mlp2"]["w"], dtype),
            "mlp2_b": params["mlp2"]["b"], "norm": params.get("norm"),
        }  # fmt: skip
        if in_order:
            prepared["lstm"] = recurrent.prepare(params["lstm"], dtype)
        if gated:
            prepared["gate"] = side_by_side(params["gate"])
        if triplets:
            each = [edges.through(params[k]) for k in ("e1", "e2", "e3")]
            prepared["triplets"] = side_by_side(*({"w": w, "b": b} for w, b in each))
        return prepared

    def apply(prepared, z, x, graph, mask, adjacency):
        p, hidden_before = prepared, z[-hidden:]
        given = dict(zip(of_z, p["z"](z), strict=True))
        given |= dict(zip(of_graph, p["graph"](graph), strict=True))
        sender = given["sender"] + given["graph"][:, None] + p["edge_b"][:, None, None]
        allowed = mask[:, None]
        if sparse:
            allowed = allowed & adjacency
        if alone:
            allowed = allowed & jnp.eye(mask.shape[0], dtype=bool)[:, :, None]
        given_messages = (
            x, p["edge"], sender, given["receiver"],
            p["mlp1"], p["mlp1_b"], p["mlp2"], p["mlp2_b"], allowed,
        )  # fmt: skip
        with jax.named_scope("messages"):
            if in_order:
                m = recurrent.messages(p["lstm"], *given_messages)
            else:
                m = pairs.messages(*given_messages)
        given |= dict(zip(of_m, p["m"](m), strict=True))
        out = jax.nn.relu(given["out_z"] + given["out_m"])
        if layer_norm:
            out = norm(p["norm"], out)
        if gated:
            (gate,) = p["gate"](jax.nn.relu(given["gate_z"] + given["gate_m"]))
            gate = jax.nn.sigmoid(gate)
            out = gate * out + (1 - gate) * hidden_before
        if not triplets:
            return out, None
        # max over i of a_ij + b_ik; what does not depend on i stays outside the maximum.
        with jax.named_scope("triplets"):
            e1, e2, e3 = p["triplets"](x)
            t = pairs.tropical(e1 + given["t1"][:, :, None], e2, mask)
            t = t + e3 + given["t2"][:, :, None] + given["t3"][:, None]
            return out, t + given["tg"][:, None, None]

    return Processor(init, prepare, apply)


def _attention(hidden, layer_norm, *, second):
    """One head of attention over neighbours (GAT), or the form that ranks freely (GATv2)."""

    def init(key):
        keys = iter(jax.random.split(key, 12))
        of_z = lambda out=hidden: initial.linear(next(keys), 2 * hidden, out)
        of_h = lambda out=hidden: initial.linear(next(keys), hidden, out)
        width = hidden if second else 1
        params = {
            "values": of_z(), "skip": of_z(), "to": of_z(width), "from": of_z(width),
            "edge": of_h(width), "graph": of_h(width),
        }  # fmt: skip
        if second:
            params["score"] = of_h(1)
        if layer_norm:
            params["norm"] = {"scale": jnp.ones(hidden), "offset": jnp.zeros(hidden)}
        return params

    def prepare(params, edges):
        w, b = edges.through(params["edge"])
        return {
            "z": side_by_side(*(params[k] for k in ("to", "from", "values", "skip"))),
            "edge": side_by_side({"w": w, "b": b}),
            "graph": side_by_side(params["graph"]),
            "score": side_by_side(params["score"]) if second else None,
            "norm": params.get("norm"),
        }

    def apply(prepared, z, x, graph, mask, adjacency):
        p = prepared
        to, sent, values, skip = p["z"](z)
        (edge,), (of_graph,) = p["edge"](x), p["graph"](graph)
        # Row i attends to column j, as the reference has it.
        logits = to[:, :, None] + sent[:, None] + edge + of_graph[:, None, None]
        logits = jax.nn.leaky_relu(logits)
        if second:
            (logits,) = p["score"](logits)
        allowed = mask[None] & adjacency
        weights = jax.nn.softmax(jnp.where(allowed, logits[0], -1e9), axis=1)
        out = jax.nn.relu(jnp.sum(weights[None] * values[:, None], axis=2) + skip)
        if layer_norm:
            out = norm(p["norm"], out)
        return out, None

    return Processor(init, prepare, apply)


def norm(params: PyTree, x: Float[Array, "h ..."]) -> Float[Array, "h ..."]:
    """Layer normalisation of the first axis [Ba et al. 2016], eps 1e-5."""
    mean = jnp.mean(x, 0, keepdims=True)
    var = jnp.mean(jnp.square(x - mean), 0, keepdims=True)
    shape = (-1,) + (1,) * (x.ndim - 1)
    scaled = (x - mean) * jax.lax.rsqrt(var + 1e-5)
    return scaled * params["scale"].reshape(shape) + params["offset"].reshape(shape)
