"""The geocoder's network: a T5 whose encoder also reads evidence and whose decoder walks a tree.

The encoder reads the tokens of the text and, after them, the rows of evidence. Each row gets a
weight; the weighted rows make a first distribution over the leaves, whose shares of a node's
children are added, as logarithms, to the decoder's own scores of them. The decoder's vocabulary
is the tree: one token for each node, scored against the node's siblings alone, so that the
product along a path is the probability of its leaf and all leaves sum to 1, whatever the
weights are.

Shapes: B batch, T tokens, K rows of evidence, N nodes, P leaves, D depth.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fl_jax.core import rng
from fl_jax.core.types import Array, Bool, Float, Int, Key, PyTree
from fl_jax.geocoding import cells, evidence
from fl_jax.nn import norms
from fl_jax.t5 import model
from fl_jax.t5.config import Config as T5

WAVES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)  # per radian, of the sines that tell where a point is
FLOOR = 0.02  # share of the prior in the evidence, so that nothing is impossible
PER_PHRASE = 32  # leaves of a phrase that count, the most frequent ones
DIRECT = 8.0  # the features' own weights count so much: Adam moves each by the rate a step at most
NEVER = -1e9


@dataclasses.dataclass(frozen=True)
class Config:
    """A geocoder's network."""

    t5: T5
    text_vocab: int  # tokens of texts; the nodes of the tree follow them in the T5's vocabulary


class Tables(NamedTuple):
    """What the network knows besides its parameters, on the device."""

    table: Float[Array, "sources leaves"]  # what places and regions say
    prior: Float[Array, " leaves"]
    phrase_start: Int[Array, " starts"]
    phrase_leaf: Int[Array, " pairs"]
    phrase_count: Float[Array, " pairs"]
    phrase_total: Float[Array, " phrases"]
    children: Int[Array, "nodes 6"]  # nodes, -1 where there is none
    first: Int[Array, " nodes"]
    last: Int[Array, " nodes"]
    node_prior: Float[Array, " nodes"]
    paths: Int[Array, "leaves depth"]  # nodes from the face to the leaf, then -1
    temperature: Float[Array, " depth"]  # scores of each level are divided by it


class Encoded(NamedTuple):
    """A text after the encoder."""

    memory: model.Memory
    weights: Float[Array, "batch rows"]  # of the evidence; what is missing to 1 is the prior's
    mixture: Float[Array, "batch leaves"]  # the evidence as one distribution
    pointer: Float[Array, "batch candidates_or_none"]  # log p that one is the place; last: none


def tables(known: evidence.Knowledge, temperature: np.ndarray | None = None) -> Tables:
    """The tables on the device."""
    partition, learned = known.partition, known.phrases
    total = np.concatenate([[0.0], np.cumsum(known.prior, dtype=np.float64)])
    depth = partition.depth
    as_float = lambda a: jnp.asarray(a, jnp.float32)
    as_int = lambda a: jnp.asarray(a, jnp.int32)
    pad = lambda a: a if len(a) else np.zeros(1)
    return Tables(
        as_float(known.table),
        as_float(known.prior),
        as_int(learned.start),
        as_int(pad(learned.leaf)),
        as_float(pad(learned.count)),
        as_float(pad(learned.total)),
        as_int(partition.children),
        as_int(partition.first),
        as_int(partition.last),
        as_float(total[partition.last] - total[partition.first]),
        as_int(cells.paths(partition)),
        as_float(np.ones(depth) if temperature is None else temperature),
    )


def init(key: Key[Array, ""], config: Config) -> PyTree:
    """Parameters that begin at the evidence: the tree's embeddings are small."""
    d = config.t5.width
    wide = len(evidence.FEATURES) + 6 * len(WAVES) + 3
    base = model.init(rng.fold(key, "t5"), config.t5)
    is_node = np.arange(config.t5.vocab)[:, None] >= config.text_vocab
    scale = jnp.asarray(np.where(is_node, 0.1, 1.0), jnp.float32)
    base["shared"] = base["shared"] * jnp.broadcast_to(scale, base["shared"].shape)
    normal = lambda name, shape, std: std * jax.random.normal(rng.fold(key, name), shape)
    return {
        "t5": base,
        "evidence": {
            "in": normal("in", (wide, d), wide**-0.5),
            "norm": jnp.ones(d),
            "out": normal("out", (d, d), d**-0.5),
            "kind": normal("kind", (evidence.ROWS, d), 0.1),
        },
        "heads": {
            "weight": jnp.zeros((d, 2)),  # of a row's state: evidence, pointer
            "direct": jnp.zeros((len(evidence.FEATURES), 2)),  # of its features
            "none": jnp.zeros((d, 2)),  # of the text's state: the prior, and no spot at all
            "bias": jnp.zeros(2),
        },
        "trust": jnp.ones(20),  # in the evidence, by level
    }


def encode(
    params: PyTree,
    config: Config,
    tables: Tables,
    batch: dict,
    *,
    key: Key[Array, ""] | None = None,
) -> Encoded:
    """Encoder, weights of the evidence, and the mixture they make.

    Args:
        params, config, tables: the network's.
        batch: `tokens` (B, T), `mask` (B, T), and the arrays of `evidence.Arrays`; in training
            also `held_out` (B,) and `leaf` (B,): a text that the phrases were learned from has
            its own leaf taken out of their counts.
        key: turns dropout on.
    """
    t5 = config.t5
    there = batch["there"]
    x = model.embed(params["t5"], t5, batch["tokens"])
    rows = _rows(params["evidence"], batch)
    rows_mask = jnp.concatenate([batch["mask"], there], axis=1)
    joined = jnp.concatenate([x, rows.astype(x.dtype)], axis=1)
    states = model.encode(params["t5"], t5, joined, rows_mask, extra=rows.shape[1], key=key)
    memory = model.remember(params["t5"], t5, states, rows_mask)
    own = states[:, x.shape[1] :].astype(jnp.float32)
    heads = params["heads"]
    scores = own @ heads["weight"] + DIRECT * (batch["features"] @ heads["direct"])
    counts = batch["mask"].astype(jnp.float32)
    text = jnp.einsum("btd,bt->bd", states[:, : x.shape[1]].astype(jnp.float32), counts)
    text = text / jnp.maximum(jnp.sum(counts, axis=1, keepdims=True), 1.0)
    none = text @ heads["none"] + jnp.broadcast_to(heads["bias"], (text.shape[0], 2))
    weighed = jnp.where(there, scores[:, :, 0], NEVER)
    weights = jax.nn.softmax(jnp.concatenate([weighed, none[:, :1]], axis=1), axis=1)[:, :-1]
    points = jnp.where(there, scores[:, :, 1], NEVER)
    points = [points[:, : evidence.SPOTS], points[:, evidence.DENSE :], none[:, 1:]]
    pointer = jax.nn.log_softmax(jnp.concatenate(points, axis=1), axis=1)
    return Encoded(memory, weights, mix(tables, batch, weights), pointer)


def mix(tables: Tables, batch: dict, weights: Float[Array, "batch rows"]):
    """The weighted evidence as one distribution over the leaves; the prior fills it up to 1."""
    dense, rest = weights[:, : evidence.DENSE], weights[:, evidence.DENSE :]
    mass = jnp.einsum("bk,bkp->bp", dense, tables.table[batch["dense"]])
    phrase = batch["phrase"]
    held_out = batch.get("held_out", jnp.zeros(phrase.shape[0], bool))
    own = batch.get("leaf", jnp.zeros(phrase.shape[0], jnp.int32))
    out = held_out.astype(jnp.float32)[:, None]
    start = tables.phrase_start[phrase]
    place = start[:, :, None] + jnp.arange(PER_PHRASE)[None, None]
    inside = place < tables.phrase_start[phrase + 1][:, :, None]
    place = jnp.minimum(place, tables.phrase_leaf.shape[0] - 1)
    leaf = tables.phrase_leaf[place]
    count = tables.phrase_count[place]
    count = count - jnp.where(leaf == own[:, None, None], out[:, :, None], 0.0)
    total = jnp.maximum(tables.phrase_total[phrase] - out, 1.0)
    share = jnp.where(inside, jnp.maximum(count, 0.0) / total[:, :, None], 0.0)
    rows = jnp.broadcast_to(jnp.arange(phrase.shape[0])[:, None, None], leaf.shape)
    mass = mass.at[rows, leaf].add(share * rest[:, :, None])
    missing = jnp.maximum(1.0 - jnp.sum(mass, axis=1, keepdims=True), 0.0)
    return mass + missing * tables.prior[None]


def node_mass(tables: Tables, mixture: Float[Array, "batch leaves"]) -> Float[Array, "batch n"]:
    """The mixture's mass below every node, never 0."""
    sums = jnp.pad(jnp.cumsum(mixture, axis=1), [(0, 0), (1, 0)])
    below = jnp.maximum(sums[:, tables.last] - sums[:, tables.first], 0.0)
    return (1 - FLOOR) * below + FLOOR * tables.node_prior[None]


def token(config: Config, node):
    """The decoder's token of a node; the root is where decoding starts."""
    return jnp.where(node == cells.ROOT, config.t5.pad, config.text_vocab + node)


def child_logs(
    params: PyTree,
    config: Config,
    tables: Tables,
    states: Float[Array, "batch nodes width"],
    nodes: Int[Array, "batch nodes"],
    mass: Float[Array, "batch n"],
    depth: Int[Array, "batch nodes"],
) -> Float[Array, "batch nodes 6"]:
    """log p of each child of nodes given the node; NEVER where there is no child."""
    children = tables.children[nodes]
    there = children >= 0
    safe = jnp.maximum(children, 0)
    rows = params["t5"]["shared"][token(config, safe)]
    x = model.scale(states, config.t5).astype(jnp.float32)
    scores = jnp.einsum("bnd,bncd->bnc", x, rows)
    flat = safe.reshape(safe.shape[0], -1)
    shares = jnp.log(jnp.take_along_axis(mass, flat, axis=1).reshape(safe.shape))
    scores = scores + params["trust"][depth][:, :, None] * shares
    scores = scores / tables.temperature[depth][:, :, None]
    return jax.nn.log_softmax(jnp.where(there, scores, NEVER), axis=-1)


def path_log(
    params: PyTree,
    config: Config,
    tables: Tables,
    encoded: Encoded,
    leaf: Int[Array, " batch"],
    *,
    key: Key[Array, ""] | None = None,
) -> tuple[Float[Array, "batch depth"], Bool[Array, "batch depth"]]:
    """log p of each step on the way to a leaf, and which steps there are: teacher forcing."""
    path = tables.paths[leaf]
    real = path >= 0
    to = jnp.maximum(path, 0)
    zero = jnp.zeros((to.shape[0], 1), to.dtype)
    nodes = jnp.concatenate([zero, to[:, :-1]], axis=1)
    x = model.embed(params["t5"], config.t5, token(config, nodes))
    states, _ = model.decode(params["t5"], config.t5, x, encoded.memory, key=key)
    depth = jnp.broadcast_to(jnp.arange(to.shape[1])[None], to.shape)
    logs = child_logs(
        params, config, tables, states, nodes, node_mass(tables, encoded.mixture), depth
    )
    hit = tables.children[nodes] == to[:, :, None]
    return jnp.sum(jnp.where(hit, logs, 0.0), axis=-1), real


def _rows(params, batch):
    """The rows of evidence as embeddings."""
    points = batch["points"]
    angles = points[..., None] * jnp.asarray(WAVES, jnp.float32)[None, None, None]
    waves = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)
    waves = waves.reshape(*points.shape[:2], -1)
    features = jnp.concatenate([batch["features"], points, waves], axis=-1)
    hidden = jax.nn.gelu(features @ params["in"])
    rows = norms.rms_norm(hidden, params["norm"]) @ params["out"]
    return rows + jnp.broadcast_to(params["kind"][None], rows.shape)


def losses(config: Config, tables: Tables, *, evidence_share=0.3, pointer_share=0.5):
    """The training loss for `train.step.make`.

    -log p(leaf) of the path, plus shares of what the evidence alone and the pointer say, so
    that both learn from the first step on.

    Returns:
        loss(variables, batch, key) -> (loss, ({}, metrics)); the batch also has `near` (B,
        candidates), which of them are the place, and `weight` (B,).
    """

    def loss(variables, batch, key):
        params = variables.params
        dropout = key if config.t5.dropout else None
        encoded = encode(params, config, tables, batch, key=dropout)
        steps, real = path_log(params, config, tables, encoded, batch["leaf"], key=dropout)
        path = -jnp.sum(jnp.where(real, steps, 0.0), axis=1)
        own = jnp.take_along_axis(encoded.mixture, batch["leaf"][:, None], axis=1)[:, 0]
        first = -jnp.log((1 - FLOOR) * own + FLOOR * tables.prior[batch["leaf"]])
        near = batch["near"]
        target = jnp.concatenate([near, ~jnp.any(near, axis=1, keepdims=True)], axis=1)
        hits = jnp.where(target, encoded.pointer, NEVER)
        pointer = -jax.nn.logsumexp(hits, axis=1)
        total = path + evidence_share * first + pointer_share * pointer
        mean = lambda a: jnp.sum(a * batch["weight"]) / jnp.sum(batch["weight"])
        metrics = {"path": mean(path), "evidence": mean(first), "pointer": mean(pointer)}
        return mean(total), ({}, metrics)

    return loss
