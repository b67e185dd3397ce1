"""Scores as the benchmark defines them: micro-F1 over the whole test set, accumulated exactly.

A batch gives counts, never a score; counts are added up and become one score at the end, because
the F1 of a set is not the mean of the F1 of its batches [clrs issue 64].
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from algorithmic.clrs import decoders, lanes, layout, losses, net, samplers, specs, trajectory
from fl_jax.core import errors, rng
from fl_jax.core.types import Array, Key, PyTree

EXTRA_SINKHORN = 50  # steps that the evaluation adds to those of the decoder [spec A6]


class Counts(NamedTuple):
    """What one output adds up to: for masks true and false positives and false negatives, for
    everything else right answers, 0 and wrong ones."""

    hit: Array
    false_positive: Array
    missed: Array


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
    at = jnp.arange(truth.node.shape[1], dtype=jnp.int32)
    mask = (at[None] < lane.nodes[0][:, None]).astype(jnp.float32)
    return _counts(layout.slots(name, specs.OUTPUT), logits, truth, mask, config)


def _counts(slots, logits, truth, mask, config):
    """Counts of the probes in these slots; scalars, which are not right or wrong, have none."""
    at = jnp.arange(mask.shape[1], dtype=jnp.int32)
    pairs = mask[:, :, None] * mask[:, None, :]
    out = {}
    ones = {}
    there = (jnp.sum(mask, axis=1) > 0).astype(jnp.float32)
    weight = {"node": mask, "edge": pairs, "graph": there}
    for where in ("node", "edge", "graph"):
        at_channel = 0
        for probe, p in getattr(slots, where):
            width = max(p.classes, 1)
            part = slice(at_channel, at_channel + width)
            x, y = getattr(logits, where)[..., part], getattr(truth, where)[..., part]
            at_channel += width
            if p.kind == specs.MASK:
                out[probe] = _f1_counts(x[..., 0] > 0, y[..., 0], weight[where])
            elif p.kind == specs.SCALAR:
                continue
            elif p.kind == specs.MASK_ONE:
                best = jnp.argmax(jnp.where(mask > 0, x[..., 0], losses.GONE), axis=1)
                ones[probe] = best
                out[probe] = _right(best == jnp.argmax(y[..., 0], axis=1), there)
            else:
                asked = jnp.all(y != -1, axis=-1).astype(jnp.float32) * weight[where]
                out[probe] = _right(jnp.argmax(x, -1) == jnp.argmax(y, -1), asked)
    for i, (probe, p) in enumerate(slots.pointer):
        x, y = logits.pointer[:, i], truth.pointer[..., i]
        if p.kind == specs.PERMUTATION:
            x = decoders.log_sinkhorn(x, mask, EXTRA_SINKHORN, config.sinkhorn_temperature)
        best = _target(x, mask)
        if p.kind == specs.PERMUTATION:
            # The first node points to itself: in the prediction by its mask, in the truth again.
            first = jnp.argmax(truth.node[..., 0], axis=1).astype(jnp.int32)
            best = jnp.where(at[None] == ones[f"{probe}_mask"][:, None], at[None], best)
            y = jnp.where(at[None] == first[:, None], at[None], y)
            del out[f"{probe}_mask"]
        out[probe] = _right(best == y, mask)
    for i, (probe, _) in enumerate(slots.edge_pointer):
        best = _target(logits.edge_pointer[:, i], mask)
        out[probe] = _right(best == truth.edge_pointer[..., i], pairs)
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
    return Counts(
        jnp.sum((predicted & positive) * weight),
        jnp.sum((predicted & ~positive) * weight),
        jnp.sum((~predicted & positive) * weight),
    )


def score(name: str, total: dict[str, Counts]) -> float:
    """The mean over outputs of F1 (masks) or accuracy, in [0, 1].

    Example:
        >>> score("activity_selector", {"selected": Counts(6, 2, 4)})
        0.6666666666666666
    """
    each = [float(_share(name, probe, found)) for probe, found in total.items()]
    return sum(each) / len(each)


def _share(name, probe, found):
    """F1 of a mask, 1 where nothing was to be found and nothing was claimed; else right / all."""
    hit, false_positive, missed = (np.asarray(v, float) for v in found)
    twice = 2 if specs.of(name)[probe].kind == specs.MASK else 1
    asked = twice * hit + false_positive + missed
    return np.where(asked > 0, twice * hit / np.maximum(asked, 1), 1.0)


def test_size(name: str) -> int:
    """Samples of the benchmark's validation and test sets."""
    return 32 * specs.TEST_MULTIPLIER[errors.one_of("algorithm", name, specs.ALGORITHMS)]


@functools.partial(jax.jit, static_argnums=(0, 1, 3, 4, 5, 6))
def _draw(name, group, key, batch, length, room, options):
    size = samplers.nodes(name, length)
    return lanes.draw(name, group, key, batch, length, size, room, options)


@functools.partial(jax.jit, static_argnums=(0, 1, 5, 6))
def _count(name, group, shared, own, table, config, steps, runs):
    lane = lanes.whole(runs, steps)
    logits, _, _ = net.run(shared, own, table, lane, config, permutation=group.permutation)
    return counts(name, group, logits, lane, config)


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
) -> tuple[float, dict[str, Counts]]:
    """The score of one task on fresh random inputs of one size.

    Args:
        name: the task.
        group: the group it was trained in.
        shared: the processor's parameters.
        own: the parameters of the group's tasks, stacked.
        config: the network.
        key: decides the inputs.
        length: n.
        samples: how many; None = as many as the benchmark's test set has.
        batch: how many at once; the score does not depend on it.
        options: of the sampler; the default makes the benchmark's test distribution.

    Returns:
        (score in [0, 1], counts per output probe).

    Raises:
        ConfigError: the group does not hold the task, or sizes that do not fit.
    """
    mine, table = _of_task(name, group, own)
    samples = samples or test_size(name)
    errors.positive("batch", batch)
    nodes = samplers.nodes(name, length)
    room = trajectory.rooms(name, nodes)
    total = None
    for i in range(0, samples, batch):
        part = min(batch, samples - i)
        part_key = rng.fold(key, name, length, i)
        for held in room:
            runs = _draw(name, group, part_key, part, length, held, options)
            longest = int(jnp.max(runs.length))
            if longest <= held:
                break
        # Few different numbers of steps, so that few programs are compiled.
        steps = min(held - 1, -(-(longest - 1) // 8) * 8) or 1
        found = jax.device_get(_count(name, group, shared, mine, table, config, steps, runs))
        total = found if total is None else jax.tree.map(np.add, total, found)
    return score(name, total), total


@functools.partial(jax.jit, static_argnums=(0, 1, 5, 6))
def _follow(name, group, shared, own, table, config, steps, runs):
    slots = layout.slots(name, specs.HINT)

    def watch(logits, truth, mask, valid):
        # a lane without this step counts for nothing: it has no nodes
        there = mask * valid.astype(mask.dtype)[:, None]
        return _counts(slots, logits, truth, there, config)

    return net.follow(shared, own, table, lanes.whole(runs, steps), config, watch)


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
    held = trajectory.rooms(name, samplers.nodes(name, length))[-1]
    runs = _draw(name, group, rng.fold(key, name, length, 0), samples, length, held, options)
    steps = int(jnp.max(runs.length)) - 1
    found = jax.device_get(_follow(name, group, shared, mine, table, config, steps, runs))
    return {probe: _share(name, probe, each) for probe, each in found.items()}


def means(scores: dict[str, float]) -> dict[str, float]:
    """The two means that papers print, of the tasks that are there: over algorithms (later
    papers), and over the families (Ibarz et al. 2022)."""
    families = [
        np.mean([scores[n] for n in names if n in scores])
        for names in specs.FAMILIES.values()
        if any(n in scores for n in names)
    ]
    return {
        "algorithms": float(np.mean(list(scores.values()))),
        "families": float(np.mean(families)),
    }
