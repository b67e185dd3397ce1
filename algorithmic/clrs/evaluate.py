"""Scores as the benchmark defines them: micro-F1 over the whole test set, accumulated exactly.

A batch gives counts, never a score; counts are added up and become one score at the end, because
the F1 of a set is not the mean of the F1 of its batches [clrs issue 64]. Beside them stand scores
that accept every right answer (`accepted`).
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from algorithmic.clrs import (
    accepted,
    decoders,
    lanes,
    layout,
    losses,
    net,
    samplers,
    specs,
    trajectory,
    valid,
)
from algorithmic.clrs.accepted import Counts, score
from fl_jax.core import errors, rng
from fl_jax.core.types import Array, Key, PyTree

EXTRA_SINKHORN = 50  # steps that the evaluation adds to those of the decoder [spec A6]


class Scores(NamedTuple):
    """What a test finds out about one task."""

    official: float  # in [0, 1], as the benchmark defines it
    accepting: float  # the same where every right answer counts
    official_counts: dict[str, Counts]
    accepting_counts: dict[str, Counts]
    in_time: float | None = None  # share that stopped after the true number of steps


def counts(
    name: str, group: net.Group, logits: layout.Values, lane: net.Lanes, config: net.Config
) -> dict[str, Counts]:
    """Counts of every output probe of a batch with one trajectory per lane.

    Args:
        name: the task.
        group: whose channels the logits have.
        logits: of the outputs, from `net.run`.
        lane: what the network ran on.
        config: the network, for its Sinkhorn temperature.
    """
    truth = jax.tree.map(lambda v: v[0], lane.outputs)
    return _counts(layout.slots(name, specs.OUTPUT), logits, truth, _real(lane), config)


def _counts(slots, logits, truth, mask, config):
    """Counts of the probes in these slots; scalars, which are not right or wrong, have none."""
    pairs = mask[:, :, None] * mask[:, None, :]
    there = (jnp.sum(mask, axis=1) > 0).astype(jnp.float32)
    weight = {specs.NODE: mask, specs.EDGE: pairs, specs.GRAPH: there}
    said, right = _said(slots, logits, mask, config), _right_answers(slots, truth, mask)
    out = {}
    for probe, p in [pair for where in slots for pair in where]:
        if probe not in said:
            continue
        x, y, asked = said[probe], right[probe], weight[p.location]
        if p.kind == specs.MASK:
            out[probe] = _f1_counts(x, y, asked)
        elif p.kind == specs.MASK_ONE:
            out[probe] = _right(x == y, there)
        elif p.kind == specs.CATEGORICAL:
            live = jnp.all(_channels(slots, truth, probe) != -1, axis=-1).astype(jnp.float32)
            out[probe] = _right(x == y, live.reshape(asked.shape) * asked)
        else:
            out[probe] = _right(x == y, asked)
    return out


def _plain(slots, values):
    """Yields (probe, its kind and place, its channels) of everything but pointers."""
    for where in (specs.NODE, specs.EDGE, specs.GRAPH):
        at = 0
        for probe, p in getattr(slots, where):
            width = max(p.classes, 1)
            yield probe, p, getattr(values, where)[..., at : at + width]
            at += width


def _channels(slots, values, wanted):
    return next(v for probe, _, v in _plain(slots, values) if probe == wanted)


def _said(slots, logits, mask, config):
    """The answers in the logits: masks as flags, one-hots, classes and pointers as indices; those
    of edges (B, N, N)."""
    nodes = mask.shape[1]
    at = jnp.arange(nodes, dtype=jnp.int32)
    out = {}
    for probe, p, x in _plain(slots, logits):
        if p.kind == specs.MASK:
            out[probe] = x[..., 0] > 0
        elif p.kind == specs.MASK_ONE:
            out[probe] = jnp.argmax(jnp.where(mask > 0, x[..., 0], losses.GONE), axis=1)
        elif p.kind == specs.CATEGORICAL:
            out[probe] = jnp.argmax(x, -1)
        if p.location == specs.EDGE and probe in out:
            out[probe] = layout.unpaired(out[probe], 1, nodes)
    for i, (probe, p) in enumerate(slots.pointer):
        x = logits.pointer[:, i]
        if p.kind == specs.PERMUTATION:
            x = decoders.log_sinkhorn(x, mask, EXTRA_SINKHORN, config.sinkhorn_temperature)
        best = _target(x, mask)
        if p.kind == specs.PERMUTATION:
            # The first node points to itself: its mask says which one that is.
            best = jnp.where(at[None] == out.pop(f"{probe}_mask")[:, None], at[None], best)
        out[probe] = best
    for i, (probe, _) in enumerate(slots.edge_pointer):
        out[probe] = layout.unpaired(_target(logits.edge_pointer[:, i], mask), 1, nodes)
    return out


def _right_answers(slots, truth, mask):
    """The benchmark's answers in the same form; masks are -1 where nothing is asked."""
    nodes = mask.shape[1]
    at = jnp.arange(nodes, dtype=jnp.int32)
    out = {}
    for probe, p, y in _plain(slots, truth):
        if p.kind == specs.MASK:
            out[probe] = y[..., 0]
        elif p.kind == specs.MASK_ONE:
            out[probe] = jnp.argmax(y[..., 0], axis=1)
        elif p.kind == specs.CATEGORICAL:
            out[probe] = jnp.argmax(jnp.abs(y), -1)  # the class "no cell" is stored as -1
        if p.location == specs.EDGE and probe in out:
            out[probe] = layout.unpaired(out[probe], 1, nodes)
    for i, (probe, p) in enumerate(slots.pointer):
        y = truth.pointer[..., i]
        if p.kind == specs.PERMUTATION:
            first = out.pop(f"{probe}_mask").astype(jnp.int32)
            y = jnp.where(at[None] == first[:, None], at[None], y)
        out[probe] = y
    for i, (probe, _) in enumerate(slots.edge_pointer):
        out[probe] = layout.unpaired(truth.edge_pointer[..., i], 1, nodes)
    return out


def _target(logits, mask):
    """The best of the real nodes, on the last axis."""
    real = mask.reshape(mask.shape[0], *[1] * (logits.ndim - 2), mask.shape[1]) > 0
    return jnp.argmax(jnp.where(real, logits, losses.GONE), axis=-1).astype(jnp.int32)


def _right(right, weight):
    hit = jnp.sum(jnp.where(right, weight, 0.0))
    return Counts(hit, jnp.zeros(()), jnp.sum(weight) - hit)


def _f1_counts(predicted, truth, weight):
    weight = jnp.where(truth != -1, weight, 0.0)
    positive = truth > 0.5
    among = lambda which: jnp.sum(jnp.where(which, weight, 0.0))
    return Counts(
        among(predicted & positive), among(predicted & ~positive), among(~predicted & positive)
    )


def test_size(name: str) -> int:
    """Samples of the benchmark's validation and test sets; 32 of an algorithm of one's own."""
    if name in specs.OWN:
        return 32
    return 32 * specs.TEST_MULTIPLIER[errors.one_of("algorithm", name, specs.ALGORITHMS)]


@functools.partial(jax.jit, static_argnums=(0, 1, 3, 4, 5, 6))
def _draw(name, group, key, batch, length, room, options):
    size = samplers.nodes(name, length)
    return lanes.draw(name, group, key, batch, length, size, room, options)


def _drawn(name, group, key, batch, length, options):
    """(random runs with all their hints, the room that they were given, hints of the longest)."""
    for room in trajectory.rooms(name, samplers.nodes(name, length)):
        runs = _draw(name, group, key, batch, length, room, options)
        longest = int(jnp.max(runs.length))
        if longest <= room:
            break
    return runs, room, longest


@functools.partial(jax.jit, static_argnums=(0, 1, 5, 6, 8))
def _count(name, group, shared, own, table, config, steps, runs, decides):
    lane = lanes.whole(runs, steps)
    ran = net.apply(
        shared, own, table, lane, config, permutation=group.permutation, decides=decides
    )
    logits = ran.logits
    official = counts(name, group, logits, lane, config)
    in_time = jnp.sum(ran.steps == jnp.maximum(runs.length - 1, 1)) if decides else None
    if name not in valid.NAMES:
        return official, None, in_time
    mask, truth = _real(lane), jax.tree.map(lambda v: v[0], lane.outputs)
    slots = layout.slots(name, specs.OUTPUT)
    said = _said(slots, logits, mask, config), _right_answers(slots, truth, mask)
    return official, (layout.probes(name, specs.INPUT, runs.inputs), *said), in_time


def _real(lane):
    at = jnp.arange(lane.inputs.node.shape[2], dtype=jnp.int32)
    return (at[None] < lane.nodes[0][:, None]).astype(jnp.float32)


def _of_task(name, group, own):
    """The task's parameters and tables out of its group's."""
    if name not in group.names:
        raise errors.ConfigError(f"{name} is not among the tasks of this model, {group.names}.")
    index = group.names.index(name)
    return jax.tree.map(lambda v: v[index], (own, net.tables(group)))


def task(
    name: str,
    group: net.Group,
    shared: PyTree,
    own: PyTree,
    config: net.Config,
    key: Key[Array, ""],
    *,
    length: int = 64,
    samples: int | None = None,
    batch: int = 32,
    options: samplers.Options = samplers.Options(),
    decides: bool = False,
) -> Scores:
    """The scores of one task on fresh random inputs of one size.

    Args:
        name: the task.
        group: the group it was trained in.
        shared: the processor's parameters.
        own: the parameters of the group's tasks, stacked.
        config: the network.
        key: decides the inputs.
        length: n.
        samples: how many; None = as many as the benchmark's test set has.
        batch: how many at once; which inputs are drawn depends on it.
        options: of the sampler; the default makes the benchmark's test distribution.
        decides: whether the network says itself when to stop (`stopping`), within twice the steps
            of the longest run of its batch, in place of being told.

    Returns:
        Scores and their counts per output probe.

    Raises:
        ConfigError: the group does not hold the task, or sizes that do not fit.
    """
    mine, table = _of_task(name, group, own)
    samplers.options(name, length, **dataclasses.asdict(options))
    samples = samples or test_size(name)
    errors.positive("batch", batch)
    total = accepting = None
    stopped = 0
    add = lambda total, found: found if total is None else jax.tree.map(np.add, total, found)
    for i in range(0, samples, batch):
        part = min(batch, samples - i)
        part_key = rng.fold(key, name, length, i)
        runs, held, longest = _drawn(name, group, part_key, part, length, options)
        # Few different numbers of steps, so that few programs are compiled.
        steps = min(held - 1, -(-(longest - 1) // 8) * 8) or 1
        if decides:
            steps = 2 * longest  # not what the algorithm may take: that would give it away
        found, answers, in_time = jax.device_get(
            _count(name, group, shared, mine, table, config, steps, runs, decides)
        )
        stopped += int(in_time or 0)
        total = add(total, found)
        if answers is not None:
            found = accepted.total(name, *answers, np.asarray(runs.nodes))
        accepting = add(accepting, found)
    in_time = stopped / samples if decides else None
    return Scores(score(name, total), score(name, accepting), total, accepting, in_time)


@functools.partial(jax.jit, static_argnums=(0, 1, 5, 6))
def _follow(name, group, shared, own, table, config, steps, runs):
    slots = layout.slots(name, specs.HINT)

    def watch(logits, truth, mask, valid):
        # a lane without this step counts for nothing: it has no nodes
        there = mask * valid.astype(mask.dtype)[:, None]
        return _counts(slots, logits, truth, there, config)

    return net.follow(shared, own, table, lanes.whole(runs, steps), config, watch)


def judged(name: str) -> tuple[str, ...]:
    """The probes of an algorithm that `hints` reports: those that are no scalars."""
    spec = specs.training_spec(name).items()
    return tuple(k for k, p in spec if p.stage == specs.HINT and p.kind != specs.SCALAR)


def hints(
    name: str,
    group: net.Group,
    shared: PyTree,
    own: PyTree,
    config: net.Config,
    key: Key[Array, ""],
    *,
    length: int = 64,
    samples: int = 32,
    options: samplers.Options = samplers.Options(),
) -> dict[str, np.ndarray]:
    """How right the hints are after each step, when every step is fed what the last one said.

    Arguments as in `task`. Returns, by probe, an array over the steps: F1 of masks, else the share
    that is right. Scalar hints are left out.
    """
    mine, table = _of_task(name, group, own)
    runs, _, longest = _drawn(name, group, rng.fold(key, name, length, 0), samples, length, options)
    steps = max(longest - 1, 1)
    found = jax.device_get(_follow(name, group, shared, mine, table, config, steps, runs))
    return {probe: accepted.share(name, probe, each) for probe, each in found.items()}


def means(scores: dict[str, float]) -> dict[str, float]:
    """The two means that papers print, of the tasks that are there: over algorithms (later
    papers), and over the families (Ibarz et al. 2022), NaN where no task is of one."""
    families = [
        np.mean([scores[n] for n in names if n in scores])
        for names in specs.FAMILIES.values()
        if any(n in scores for n in names)
    ]
    return {
        "algorithms": float(np.mean(list(scores.values()))),
        "families": float(np.mean(families)) if families else float("nan"),
    }
