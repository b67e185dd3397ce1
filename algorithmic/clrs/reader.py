"""Trajectories that dm-clrs made, from its samplers or its published archive, for this network.

Nothing of dm-clrs, haiku or TensorFlow is needed: arrays by probe name come in, as its samplers
give them before any of its training tricks (`feedback.features.inputs`, `.hints`, `.lengths` and
`feedback.outputs`), or one record of the archive, read by whatever reads it.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from algorithmic.clrs import lanes, layout, specs
from algorithmic.clrs.layout import Counts, Values
from algorithmic.clrs.net import Group
from fl_jax.core import errors


class Stored(NamedTuple):
    """A batch as dm-clrs keeps it: arrays by probe name."""

    inputs: dict[str, np.ndarray]  # (B, ...)
    hints: dict[str, np.ndarray]  # (T, B, ...)
    outputs: dict[str, np.ndarray]  # (B, ...)
    lengths: np.ndarray  # (B,)


def record(name: str, fields: Mapping[str, np.ndarray]) -> Stored:
    """One batch of the archive `clrs_dataset`: `input_pos`, `hint_pi_h`, `output_pi`, `lengths`.

    Args:
        name: the algorithm.
        fields: (B, ...), hints (B, T, ...).

    Raises:
        DataError: a field that the algorithm does not have, or one that is missing, or lengths
            that are none.
    """
    if "lengths" not in fields:
        raise errors.DataError(f"a record of {name} needs the field 'lengths'; it is not there.")
    parts: dict[str, dict[str, np.ndarray]] = {s: {} for s in ("input", "hint", "output")}
    spec = specs.of(name)
    for field, value in fields.items():
        if field == "lengths":
            continue
        stage, _, probe = field.partition("_")
        if probe not in spec or spec[probe].stage != stage:
            raise errors.DataError(
                f"{field!r} is no field of {name}; give the fields of one algorithm's record."
            )
        value = np.asarray(value)
        parts[stage][probe] = np.swapaxes(value, 0, 1) if stage == specs.HINT else value
    stored = Stored(parts["input"], parts["hint"], parts["output"], np.asarray(fields["lengths"]))
    _check(name, stored)
    return stored


def runs(name: str, group: Group, stored: Stored) -> lanes.Runs:
    """The batch as channels, with the paper's tricks applied: static `pred` as an input,
    permutations made cyclic.

    Args:
        name: the task.
        group: whose channels are used.
        stored: the batch.

    Raises:
        DataError: a probe is missing or has a shape that does not fit.
    """
    _check(name, stored)
    inputs, outputs = dict(stored.inputs), dict(stored.outputs)
    count, nodes = inputs["pos"].shape
    n = jnp.full(count, nodes, jnp.int32)
    if name in specs.STATIC_PRED:
        inputs["pred"] = stored.hints["pred_h"][0]
    order = specs.permutation(name)
    if order is not None:
        before = jnp.asarray(outputs[order], jnp.int32)
        outputs[order], first = jax.vmap(layout.cyclic)(before, n)
        outputs[f"{order}_mask"] = jax.nn.one_hot(first, nodes)
    return lanes.Runs(
        n,
        _values(name, specs.INPUT, inputs, group.inputs, (count,), nodes),
        _values(name, specs.HINT, stored.hints, group.hints, _lead(stored), nodes),
        _values(name, specs.OUTPUT, outputs, group.outputs, (count,), nodes),
        jnp.asarray(stored.lengths, jnp.int32),
    )


def _lead(stored):
    return next(iter(stored.hints.values())).shape[:2]


def _values(name, stage, stored, padded: Counts, lead, nodes) -> Values:
    mine = layout.slots(name, stage)

    def joined(probes, count, shape, dtype):
        parts = []
        for probe, p in probes:
            value = jnp.asarray(stored[probe]).astype(dtype)
            if p.location == specs.EDGE:
                value = layout.paired(value, len(lead))
            parts.append(value if p.kind == specs.CATEGORICAL else value[..., None])
        have = sum(part.shape[-1] for part in parts)
        parts.append(jnp.zeros((*lead, *shape, count - have), dtype))
        return jnp.concatenate(parts, axis=-1)

    pair = (nodes**2,)
    return Values(
        joined(mine.node, padded.node, (nodes,), jnp.float32),
        joined(mine.edge, padded.edge, pair, jnp.float32),
        joined(mine.graph, padded.graph, (), jnp.float32),
        joined(mine.pointer, padded.pointer, (nodes,), jnp.int32),
        joined(mine.edge_pointer, padded.edge_pointer, pair, jnp.int32),
    )


def _check(name: str, stored: Stored) -> None:
    """Every probe is there, with the shape that its place asks for."""
    stages = {specs.INPUT: stored.inputs, specs.HINT: stored.hints, specs.OUTPUT: stored.outputs}
    if "pos" not in stored.inputs:
        raise errors.DataError(f"a batch of {name} needs the input 'pos'; it is not there.")
    count, nodes = np.shape(stored.inputs["pos"])
    for probe, p in specs.of(name).items():
        if probe not in stages[p.stage]:
            raise errors.DataError(f"a batch of {name} needs the {p.stage} {probe!r}.")
        shape = {specs.NODE: (nodes,), specs.EDGE: (nodes, nodes), specs.GRAPH: ()}[p.location]
        shape = (count, *shape) + ((p.classes,) if p.kind == specs.CATEGORICAL else ())
        found = np.shape(stages[p.stage][probe])
        found = found[1:] if p.stage == specs.HINT else found
        if found != shape:
            raise errors.DataError(
                f"{probe} of {name} must have shape {shape} for {count} samples of {nodes} nodes"
                f" (hints: after their time axis), got {found}."
            )
    times = {probe: len(value) for probe, value in stored.hints.items()}
    lengths = np.asarray(stored.lengths)
    if len(set(times.values())) > 1:
        raise errors.DataError(f"hints of {name} must have as many steps each, got {times}.")
    most = min(times.values(), default=0)
    if lengths.shape != (count,) or not ((lengths >= 1) & (lengths <= most)).all():
        raise errors.DataError(
            f"lengths of {name} must be one of 1 to {most}, the steps of its hints, for each of"
            f" {count} samples, got {lengths.tolist()}."
        )
