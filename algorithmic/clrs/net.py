"""Encode, process, decode, step after step [Ibarz et al. 2022, 3].

The network runs on lanes. A lane is one place of the batch through a number of steps; it holds
one trajectory from its first hint to its last, or several one after another (chunks), with flags
where one begins and ends. At the first step of a trajectory the hidden state is zero and the true
hint is fed in, later ones see what the network itself predicted.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from algorithmic.clrs import (
    decoders,
    encoders,
    history,
    layout,
    losses,
    processors,
    rebuild,
    specs,
    stopping,
)
from algorithmic.clrs.layout import Counts, Values
from fl_jax.core import errors, rng
from fl_jax.core.types import Array, Float, Key, PyTree


@dataclasses.dataclass(frozen=True)
class Config:
    """The network; the defaults are the paper's single-task model."""

    processor: str = "triplet_gmpnn"  # processors.NAMES
    hidden: int = 128  # h, of nodes, edges and graph
    triplets: int = 8  # features of a triplet
    layer_norm: bool = True
    bfloat16: bool = False  # messages; everything else stays float32
    remat: bool = False  # recompute each step in the backward pass
    sinkhorn_steps: int = 10  # while training
    sinkhorn_temperature: float = 0.1

    # Beyond the paper; the defaults leave all of it out.
    aggregator: str = "max"  # of messages: processors.AGGREGATORS
    history: str = "kept"  # what a step keeps of the hidden state: history.NAMES
    forget: float = 0.0  # weight of the loss that closes the gates of a "gated" history
    rebuild: float = 0.0  # weight of the loss of rebuilding the present hints; 0 = no such part
    stop: bool = False  # a head that learns when to end

    def __post_init__(self):
        errors.one_of("processor", self.processor, processors.NAMES)
        errors.one_of("aggregator", self.aggregator, processors.AGGREGATORS)
        errors.one_of("history", self.history, history.NAMES)
        if self.forget and self.history != "gated":
            raise errors.ConfigError(
                f"forget = {self.forget} closes the gates of a gated history, and the history is"
                f" {self.history!r}; set history to 'gated' or forget to 0."
            )
        if self.forget < 0 or self.rebuild < 0:
            raise errors.ConfigError(
                f"weights of losses are not negative, got forget {self.forget} and rebuild"
                f" {self.rebuild}."
            )


class Group(NamedTuple):
    """Tasks that share one trace of the network: their channels are padded to common counts."""

    names: tuple[str, ...]
    inputs: Counts
    hints: Counts
    outputs: Counts

    @classmethod
    def of(cls, names: tuple[str, ...]) -> "Group":
        """The group of these tasks."""
        each = (layout.counts(names, s) for s in (specs.INPUT, specs.HINT, specs.OUTPUT))
        return cls(tuple(names), *each)

    @property
    def permutation(self) -> bool:
        """Whether the tasks put out a permutation; all of a group do, or none."""
        return any(specs.permutation(name) for name in self.names)


class Tables(NamedTuple):
    """What the channels of each stage are, (tasks, ...)."""

    inputs: Values
    hints: Values
    outputs: Values


class Lanes(NamedTuple):
    """A batch: L steps of B lanes, each with S places for trajectories."""

    nodes: Array  # (S, B) int32
    inputs: Values  # (S, B, ...)
    outputs: Values  # (S, B, ...)
    now: Values  # (L, B, ...) true hints at each step
    following: Values  # (L, B, ...) true hints one step later
    segment: Array  # (L, B) int32, which place a step belongs to
    first: Array  # (L, B) bool
    last: Array  # (L, B) bool, the step after which the output is read
    valid: Array  # (L, B) bool, whether the following hint counts


class Kept(NamedTuple):
    """What outputs are decoded from: the state after a trajectory's last step."""

    h_t: Float[Array, "H N B"]
    x: Float[Array, "C N N B"]
    t: Any  # (f, N, N, B) or None
    graph: Float[Array, "h B"]


class Prepared(NamedTuple):
    """Parameters of one task as the loop over steps reads them."""

    encoder: encoders.Encoder
    processor: PyTree
    hints: decoders.Decoder
    outputs: decoders.Decoder
    rebuild: rebuild.Rebuild | None
    gates: PyTree | None
    stop: PyTree | None


class Ran(NamedTuple):
    """What a batch of lanes came to."""

    logits: Values  # of the outputs, (S B, ...)
    outputs: losses.Tally
    hints: losses.Tally
    extra: Array | None  # weighted losses of what goes beyond the paper, None without
    steps: Array | None  # (B,) steps taken until the network itself stopped, None if told when
    said: PyTree  # what `watch` said


def tables(group: Group) -> Tables:
    """The group's tables, stacked over its tasks."""
    stages = ((specs.INPUT, group.inputs), (specs.HINT, group.hints), (specs.OUTPUT, group.outputs))
    return Tables(
        *(layout.stack([layout.channels(n, s, c) for n in group.names]) for s, c in stages)
    )


def processor(config: Config) -> processors.Processor:
    """The configured processor."""
    return processors.make(
        config.processor,
        hidden=config.hidden,
        triplets=config.triplets,
        layer_norm=config.layer_norm,
        dtype=jnp.bfloat16 if config.bfloat16 else jnp.float32,
        aggregator=config.aggregator,
    )


def init_shared(key: Key[Array, ""], config: Config) -> PyTree:
    """The parameters that all tasks share: the processor's and those of a gated history."""
    params = processor(config).init(key)
    if config.history == "gated":
        params = {**params, "forget": history.init(rng.fold(key, "forget"), config.hidden)}
    return params


def init_tasks(key: Key[Array, ""], group: Group, config: Config) -> PyTree:
    """Encoders and decoders of a group's tasks, stacked on a leading axis."""

    def one(name):
        number = name if name in specs.OWN else specs.ALGORITHMS.index(name)
        of_task = rng.fold(key, number)
        keys = jax.random.split(of_task, 4)
        h, wide = config.hidden, config.processor.startswith("triplet")
        more = {}
        if config.rebuild:
            more["rebuild"] = rebuild.init(rng.fold(of_task, "rebuild"), group.hints, h)
        if config.stop:
            more["stop"] = stopping.init(rng.fold(of_task, "stop"), h)
        return more | {
            "encode_inputs": encoders.init(keys[0], name, specs.INPUT, group.inputs, h),
            "encode_hints": encoders.init(keys[1], name, specs.HINT, group.hints, h),
            "decode_hints": decoders.init(keys[2], group.hints, h, wide),
            "decode_outputs": decoders.init(keys[3], group.outputs, h, wide),
        }

    return layout.stack([one(name) for name in group.names])


def run(
    shared: PyTree,
    own: PyTree,
    table: Tables,
    lanes: Lanes,
    config: Config,
    *,
    permutation: bool = False,
    key: Array | None = None,
) -> tuple[Values, losses.Tally, losses.Tally]:
    """One task's lanes through the network.

    Args:
        shared: parameters of the processor.
        own: parameters of the task's encoders and decoders.
        table: the task's tables.
        lanes: the batch.
        config: the network.
        permutation: whether the output pointer is a permutation.
        key: for Gumbel noise while training; None = none.

    Returns:
        (output logits (S B, ...), the outputs' tally, the hints' tally).
    """
    ran = apply(shared, own, table, lanes, config, permutation=permutation, key=key)
    return ran.logits, ran.outputs, ran.hints


def follow(
    shared: PyTree,
    own: PyTree,
    table: Tables,
    lanes: Lanes,
    config: Config,
    watch: Callable[[Values, Values, Array, Array], PyTree],
) -> PyTree:
    """What `watch` says of the hints after every step, stacked over the steps.

    Args:
        watch: of the hints' logits (B, ...), the true hints (B, ...), the nodes that are there
            (B, N) and the lanes that have such a step (B,).
        shared, own, table, lanes, config: as in `run`.
    """
    return apply(shared, own, table, lanes, config, watch=watch).said


def apply(
    shared: PyTree,
    own: PyTree,
    table: Tables,
    lanes: Lanes,
    config: Config,
    *,
    permutation: bool = False,
    key: Array | None = None,
    watch: Callable[[Values, Values, Array, Array], PyTree] | None = None,
    decides: bool = False,
) -> Ran:
    """`run` and `follow` in one, and what goes beyond the paper.

    Args:
        shared, own, table, lanes, config, permutation, key: as in `run`.
        watch: as in `follow`.
        decides: whether outputs are read where the network's own head says that the algorithm has
            ended, at the latest after the last step; lanes of one trajectory only.

    Raises:
        ConfigError: `decides` of a network without such a head, or of packed lanes.
    """
    places, batch = lanes.nodes.shape
    size = lanes.inputs.node.shape[2]
    parts = _prepare(shared, own, table, config)
    if decides and (not config.stop or places > 1):
        raise errors.ConfigError(
            "only a network with stop = True decides when to end, and one trajectory per lane."
        )
    process = processor(config).apply
    extras = config.rebuild or config.stop or config.history == "gated"
    inputs, truth = _batch_last((lanes.inputs, lanes.outputs), 1)  # (S, C, ..., B)
    now, following = _batch_last((lanes.now, lanes.following), 1)  # (L, C, ..., B)
    at = jnp.arange(size, dtype=jnp.int32)
    masks = (at[None, :, None] < lanes.nodes[:, None]).astype(jnp.float32)  # (S, N, B)

    def step(carry, x):
        hidden, predicted, kept, steps = carry
        now, following, segment, first, last, valid, when = x
        pick = lambda v: v[0] if places == 1 else _pick(v, segment)
        given, mask = jax.tree.map(pick, inputs), pick(masks)
        begin = lambda a, c: jnp.where(first, a, c)
        hints = jax.tree.map(begin, encoders.one_hot(now, size), predicted)
        hidden = begin(jnp.zeros_like(hidden), hidden)
        given = encoders.one_hot(given, size)
        if config.history == "none":
            hidden = jnp.zeros_like(hidden)
        after, logits, state, rebuilt = _one_step(parts, table, process, given, hints, hidden, mask)
        with jax.named_scope("losses"):
            tallied = losses.tally(logits, following, table.hints, mask, valid.astype(jnp.float32))
        said = (
            watch(_batch_first(logits), _plain_first(following), mask.T, valid) if watch else None
        )
        with jax.named_scope("losses"):
            predicted = losses.soften(logits, table.hints, mask)
        more = {}
        if rebuilt is not None:
            live = valid.astype(jnp.float32)
            more["rebuild"] = losses.tally(rebuilt, now, table.hints, mask, live)
        if parts.gates is not None:
            gates = history.gate(parts.gates, state.h_t[: 2 * config.hidden], after)
            more["forget"] = history.openness(gates, mask, valid.astype(jnp.float32))
            after = gates * after
        if parts.stop is not None:
            ended = stopping.logit(parts.stop, state.h_t, state.graph, mask > 0)
            more["stop"] = stopping.tally(ended, last, valid | last)
        if decides:
            last = (steps == 0) & ((ended > 0) | (when == count - 1))
            steps = jnp.where(last, when + 1, steps)
        if places == 1:
            keep = lambda a, c: jnp.where(last, a, c)
            kept = jax.tree.map(keep, state, kept)
            return (after, predicted, kept, steps), (tallied, None, said, more)
        return (after, predicted, None, steps), (tallied, state, said, more)

    start = jax.tree.map(lambda v: jnp.zeros_like(v[0]), now)
    predicted = jax.tree.map(jnp.zeros_like, encoders.one_hot(start, size))
    hidden = jnp.zeros((config.hidden, size, batch))
    count = lanes.first.shape[0]
    whens = jnp.arange(count, dtype=jnp.int32) if decides else None
    xs = (now, following, lanes.segment, lanes.first, lanes.last, lanes.valid, whens)
    body = jax.checkpoint(step) if config.remat else step
    kept = None
    if places == 1:
        kept = _nothing_kept(config, batch, size, parts.encoder.edge.shape[0])
    steps = jnp.zeros(batch, jnp.int32) if decides else None
    (_, _, kept, steps), seen = jax.lax.scan(body, (hidden, predicted, kept, steps), xs)
    hint_tallies, states, said, more = seen
    # Places side by side: (C, ..., S B).
    flat = lambda v: jnp.moveaxis(v, 0, -2).reshape(*v.shape[1:-1], places * batch)
    # (S, L, B): the steps after which a trajectory ends; one that was cut short has none.
    ends = lanes.last[None] & (lanes.segment[None] == _iota(places, lanes.segment))
    finished = jnp.any(ends, axis=1).reshape(-1)
    if places > 1:
        when = jnp.argmax(ends, axis=1)
        kept = jax.tree.map(lambda v: flat(_at_steps(v, when)), states)
    mask, truth = flat(masks), jax.tree.map(flat, truth)
    with jax.named_scope("outputs"):
        logits = decoders.decode(parts.outputs, kept.h_t, kept.x, kept.t, kept.graph, mask)
    if permutation:
        batched = jnp.moveaxis(logits.pointer, -1, 0)
        batched = decoders.log_sinkhorn(
            batched,
            jnp.broadcast_to(mask.T[:, None], batched.shape[:3]),
            config.sinkhorn_steps,
            config.sinkhorn_temperature,
            key,
        )
        logits = logits._replace(pointer=jnp.moveaxis(batched, 0, -1))
    outputs = losses.tally(logits, truth, table.outputs, mask, finished.astype(jnp.float32))
    hints = jax.tree.map(lambda v: jnp.sum(v, axis=0), hint_tallies)
    extra = _extra(config, jax.tree.map(lambda v: jnp.sum(v, axis=0), more)) if extras else None
    return Ran(_batch_first(logits), outputs, hints, extra, steps, said)


def _extra(config, more) -> Float[Array, ""]:
    """The weighted sum of the further losses, each a mean over what it counts."""
    weights = {"rebuild": config.rebuild, "forget": config.forget, "stop": 1.0}
    total = jnp.float32(0)
    for name, tallied in more.items():
        total = total + weights[name] * losses.mean(losses.Tally(*tallied))
    return total


def _prepare(shared, own, table, config) -> Prepared:
    dtype = jnp.bfloat16 if config.bfloat16 else jnp.float32
    both = (table.inputs, table.hints)
    encoder = encoders.prepare(own["encode_inputs"], own["encode_hints"], both)
    edges = processors.Edges(encoder.edge, encoder.edge_b)
    of = lambda stage: decoders.prepare(own[stage], edges, shared, dtype)
    processed = processor(config).prepare(shared, edges)
    return Prepared(
        encoder,
        processed,
        of("decode_hints"),
        of("decode_outputs"),
        rebuild.prepare(own["rebuild"], edges, dtype) if config.rebuild else None,
        shared["forget"] if config.history == "gated" else None,
        own["stop"] if config.stop else None,
    )


def _one_step(parts, table, process, given, hints, hidden, mask):
    """(new hidden, hint logits, what outputs would be decoded from, rebuilt hints or None)."""
    with jax.named_scope("encode"):
        node = encoders.node_features(parts.encoder, given, hints)
        graph = encoders.graph_features(parts.encoder, given, hints)
        x = jnp.concatenate(
            [
                encoders.edge_channels(given, table.inputs, mask),
                encoders.edge_channels(hints, table.hints, mask),
            ]
        )
    rebuilt = None
    if parts.rebuild is not None:
        node = rebuild.encode(parts.rebuild, node, x, graph, mask > 0)
        rebuilt = rebuild.logits(parts.rebuild, node, x, graph, mask)
    z = jnp.concatenate([node, hidden])
    adjacency = _adjacency(given, hints, table)
    after, t = process(parts.processor, z, x, graph, mask > 0, adjacency)
    h_t = jnp.concatenate([node, hidden, after])
    with jax.named_scope("hints"):
        logits = decoders.decode(parts.hints, h_t, x, t, graph, mask)
    return after, logits, Kept(h_t, x, t, graph), rebuilt


def _batch_last(values, lead):
    """(*lead, B, ..., C) -> (*lead, C, ..., B), `lead` axes before the batch."""
    return jax.tree.map(lambda v: jnp.swapaxes(v, lead, -1), values)


def _batch_first(logits: Values) -> Values:
    """Plain probes (B, ..., C), pointers (B, P, ...)."""
    pointing = lambda v: None if v is None else jnp.moveaxis(v, -1, 0)
    node, edge, graph = _plain_first(logits[:3])
    return Values(node, edge, graph, pointing(logits.pointer), pointing(logits.edge_pointer))


def _plain_first(values):
    """(C, ..., B) -> (B, ..., C) of everything in there."""
    return jax.tree.map(lambda v: jnp.moveaxis(jnp.moveaxis(v, -1, 0), 1, -1), values)


def _adjacency(given, hints, table):
    """Where PGN and GAT send: self loops, pointers and edge masks, in either direction."""
    _, n, batch = given.node.shape
    out = jnp.broadcast_to(jnp.eye(n, dtype=bool)[:, :, None], (n, n, batch))
    for values, tabled in ((given, table.inputs), (hints, table.hints)):
        if values.pointer is not None:
            both = values.pointer + jnp.swapaxes(values.pointer, 1, 2)
            live = jnp.asarray(tabled.pointer).reshape(-1, 1, 1, 1) > 0
            out = out | jnp.any((both > 0.5) & live, axis=0)
        masks = jnp.asarray(tabled.edge.kind)[:, 1].reshape(-1, 1, 1, 1) > 0
        edge = layout.unpaired(values.edge, 1, n)
        both = edge + jnp.swapaxes(edge, 1, 2)
        out = out | jnp.any((both > 0) & masks, axis=0)
    return out


def _nothing_kept(config, batch, size, channels):
    triplets = config.processor.startswith("triplet")
    return Kept(
        jnp.zeros((3 * config.hidden, size, batch)),
        jnp.zeros((channels, size, size, batch)),
        jnp.zeros((config.triplets, size, size, batch)) if triplets else None,
        jnp.zeros((config.hidden, batch)),
    )


def _pick(v, segment):
    """v (S, ..., B) at each lane's segment (B,)."""
    index = segment.reshape(*[1] * (v.ndim - 1), -1)
    return jnp.take_along_axis(v, index, axis=0)[0]


def _at_steps(v, when):
    """v (L, ..., B) at the steps (S, B) -> (S, ..., B)."""
    index = when.reshape(when.shape[0], *[1] * (v.ndim - 2), -1)
    return jnp.take_along_axis(v, index, axis=0)


def _iota(count, like):
    return jax.lax.broadcasted_iota(jnp.int32, (count, *like.shape), 0)
