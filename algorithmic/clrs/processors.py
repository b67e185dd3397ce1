"""Processors: one round of messages on a graph of nodes, edges and a global feature.

All stand behind one interface, a pair of functions made by a factory:

    init(key) -> params
    apply(params, z, edges, graph, mask, adjacency) -> (new hidden (B, N, h), edge outputs or None)

`edges` is not an array of edge features: these are sums of linear maps of a few channels and are
only ever used through further linear maps, so the processor asks for those and the two are
composed (`Edges.linear`), exactly [spec C3.2].

Ibarz et al. 2022, 3.2; MPNN: Gilmer et al. 2017; PGN: Veličković et al. 2020; GAT: Veličković et
al. 2018; GATv2: Brody et al. 2022; Deep Sets: Zaheer et al. 2017.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from algorithmic.clrs import initial
from fl_jax.core import errors
from fl_jax.core.types import Array, Float, PyTree

NAMES = ("triplet_gmpnn", "triplet_mpnn", "mpnn", "gmpnn", "pgn", "gat", "gatv2", "deepsets")
BIG = 1e6  # what a maximum sees in place of a node that is not there


class Processor(NamedTuple):
    """A pair of pure functions."""

    init: Callable[[Array], PyTree]
    apply: Callable[..., tuple[Array, Array | None]]


class Edges(NamedTuple):
    """Edge features e_ij = x_ij w + b, never formed."""

    x: Float[Array, "B N N C"]
    w: Float[Array, "C h"]
    b: Float[Array, " h"]

    def linear(self, params: PyTree, dtype=jnp.float32) -> Float[Array, "B N N o"]:
        """params applied to e: one map from the channels."""
        w, b = self.w @ params["w"], self.b @ params["w"] + params["b"]
        return _affine(self.x.astype(dtype), w.astype(dtype), b.astype(dtype))


def make(
    name: str = "triplet_gmpnn",
    *,
    hidden: int = 128,
    triplets: int = 8,
    layer_norm: bool = True,
    dtype: Any = jnp.float32,
) -> Processor:
    """The processor of that name.

    Args:
        name: one of `NAMES`. A `g` before `mpnn` gates the update, `triplet` adds edge outputs.
        hidden: h.
        triplets: features of a triplet.
        layer_norm: normalise the new hidden state before the gate.
        dtype: of messages; everything else is float32.

    Raises:
        ConfigError: an unknown name.
    """
    errors.one_of("processor", name, NAMES)
    if name in ("gat", "gatv2"):
        return _attention(hidden, layer_norm, second=name == "gatv2")
    gated = name in ("triplet_gmpnn", "gmpnn")
    count = triplets if name.startswith("triplet") else 0
    return _messages(name, hidden, count, gated, layer_norm, dtype)


def _messages(name, hidden, triplets, gated, layer_norm, dtype):
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
        return params

    def apply(params, z, edges, graph, mask, adjacency):
        hidden_before = z[..., -hidden:]
        lin = lambda k, x: initial.apply(params[k], x)
        receiver = lin("receiver", z).astype(dtype)[:, None]
        sender = (lin("sender", z) + lin("graph", graph)[:, None]).astype(dtype)[:, :, None]
        m = jax.nn.relu(edges.linear(params["edge"], dtype) + receiver + sender)
        m = jax.nn.relu(_affine(m, *_cast(params["mlp1"], dtype)))
        m = _affine(m, *_cast(params["mlp2"], dtype))
        senders = mask[:, :, None]
        if sparse:
            senders = senders & adjacency.astype(bool)
        if alone:
            senders = senders & jnp.eye(mask.shape[1], dtype=bool)[None]
        m = masked_max(m, jnp.broadcast_to(senders, m.shape[:3])).astype(jnp.float32)
        out = jax.nn.relu(lin("out_z", z) + lin("out_m", m))
        if layer_norm:
            out = norm(params["norm"], out)
        if gated:
            gate = lin("gate", jax.nn.relu(lin("gate_z", z) + lin("gate_m", m)))
            gate = jax.nn.sigmoid(gate)
            out = gate * out + (1 - gate) * hidden_before
        if not triplets:
            return out, None
        # max over i of a_ij + b_ik; what does not depend on i stays outside the maximum.
        a = edges.linear(params["e1"]) + lin("t1", z)[:, :, None]
        best = tropical(a, edges.linear(params["e2"]), mask)
        t = best + edges.linear(params["e3"]) + lin("t2", z)[:, :, None] + lin("t3", z)[:, None]
        t = t + lin("tg", graph)[:, None, None]
        return out, t

    return Processor(init, apply)


def edge_outputs(params: PyTree, t: Float[Array, "B N N f"]) -> Float[Array, "B N N h"]:
    """Edge outputs from triplet maxima: ReLU of a linear map."""
    return jax.nn.relu(initial.apply(params["t_out"], t))


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

    def apply(params, z, edges, graph, mask, adjacency):
        lin = lambda k, x: initial.apply(params[k], x)
        # Row i attends to column j, as the reference has it.
        logits = lin("to", z)[:, :, None] + lin("from", z)[:, None]
        logits = logits + edges.linear(params["edge"]) + lin("graph", graph)[:, None, None]
        logits = jax.nn.leaky_relu(logits)
        if second:
            logits = initial.apply(params["score"], logits)
        logits = logits[..., 0]
        allowed = mask[:, None, :] & adjacency.astype(bool)
        weights = jax.nn.softmax(jnp.where(allowed, logits, -1e9), axis=-1)
        out = jax.nn.relu(weights @ lin("values", z) + lin("skip", z))
        if layer_norm:
            out = norm(params["norm"], out)
        return out, None

    return Processor(init, apply)


def _cast(params, dtype):
    return params["w"].astype(dtype), params["b"].astype(dtype)


def _affine(x, w, b):
    return x @ w + b.reshape((1,) * (x.ndim - 1) + (-1,))


def norm(params: PyTree, x: Float[Array, "*batch h"]) -> Float[Array, "*batch h"]:
    """Layer normalisation [Ba et al. 2016], eps 1e-5."""
    mean = jnp.mean(x, -1, keepdims=True)
    var = jnp.mean(jnp.square(x - mean), -1, keepdims=True)
    shape = (1,) * (x.ndim - 1) + (-1,)
    scaled = (x - mean) * jax.lax.rsqrt(var + 1e-5)
    return scaled * params["scale"].reshape(shape) + params["offset"].reshape(shape)


def masked_max(m: Float[Array, "B N N h"], senders: Array) -> Float[Array, "B N h"]:
    """max over i of m_ij where senders_ij, -1e6 where there are none."""
    return jnp.max(jnp.where(senders[..., None], m, jnp.asarray(-BIG, m.dtype)), axis=1)


@jax.custom_vjp
def tropical(
    a: Float[Array, "B N N f"], b: Float[Array, "B N N f"], mask: Array
) -> Float[Array, "B N N f"]:
    """max over i of a_ij + b_ik, per feature: a max-plus matrix product without rank five.

    Its derivative goes to the first i that attains the maximum.
    """
    return _tropical_forward(a, b, mask)[0]


def _tropical_forward(a, b, mask):
    a = jnp.where(mask[:, :, None, None], a, -BIG)

    def row(carry, ab):
        best, index = carry
        i, a_i, b_i = ab  # (B, N, f)
        total = a_i[:, :, None] + b_i[:, None, :]
        better = total > best
        return (jnp.where(better, total, best), jnp.where(better, i, index)), None

    n = a.shape[1]
    shape = (a.shape[0], n, n, a.shape[3])
    start = (jnp.full(shape, -jnp.inf, a.dtype), jnp.zeros(shape, jnp.int32))
    rows = (jnp.arange(n, dtype=jnp.int32), jnp.moveaxis(a, 1, 0), jnp.moveaxis(b, 1, 0))
    (best, index), _ = jax.lax.scan(row, start, rows)
    return best, (index, n)


def _tropical_backward(saved, g):
    index, n = saved

    def row(_, i):
        here = jnp.where(index == i, g, 0)
        return None, (jnp.sum(here, axis=2), jnp.sum(here, axis=1))

    _, (da, db) = jax.lax.scan(row, None, jnp.arange(n, dtype=jnp.int32))
    return jnp.moveaxis(da, 0, 1), jnp.moveaxis(db, 0, 1), None


tropical.defvjp(_tropical_forward, _tropical_backward)
