"""Traces as text for language models, in the manner of CLRS-Text [Markeeva et al. 2024].

    insertion_sort:
    key: [0.3 0.1 0.2], initial_trace: [0 0 1]
    trace | pred:
    [1 1 0], [1 1 0] | [2 1 1]

The trace is the hint that becomes the output (or another, by name); values are shown as dm-clrs
stores them: pointers and one-hots as node numbers, scalars with so many digits.
"""

from typing import NamedTuple

import numpy as np

from algorithmic.clrs import specs
from fl_jax.core import errors


class Text(NamedTuple):
    """What a model is shown, and what it is to say."""

    prompt: str
    answer: str


def traced(name: str) -> str:
    """The hint that becomes the algorithm's first output; its first hint if none is named so."""
    hints, outputs = specs.stage(name, specs.HINT), specs.stage(name, specs.OUTPUT)
    named = [f"{probe}_h" for probe in outputs if f"{probe}_h" in hints]
    return named[0] if named else next(iter(hints))


def render(name: str, run, *, hint: str | None = None, digits: int = 3) -> Text:
    """One run as text.

    Args:
        name: the algorithm.
        run: `trajectory.Trajectory` without a batch axis, as `clrs.trace` gives it.
        hint: the probe to trace; None = `traced(name)`.
        digits: decimals of scalars.

    Raises:
        ConfigError: the algorithm has no such hint, or no digits.
        DataError: a batch of runs.
    """
    errors.whole("digits", digits, 1)
    if np.ndim(run.length):
        raise errors.DataError("one run becomes one text; take one of the batch.")
    spec = specs.of(name)
    hint = traced(name) if hint is None else hint
    errors.one_of(f"hint of {name}", hint, specs.stage(name, specs.HINT))
    show = lambda probe, value: _value(spec[probe], value, digits)
    steps = [show(hint, value) for value in np.asarray(run.hints[hint])[: int(run.length)]]
    given = [f"{k}: {show(k, v)}" for k, v in run.inputs.items() if k not in ("pos", "adj")]
    found = ", ".join(show(k, v) for k, v in run.outputs.items())
    prompt = (
        f"{name}:\n{', '.join([*given, f'initial_trace: {steps[0]}'])}\n"
        f"trace | {', '.join(run.outputs)}:\n"
    )
    return Text(prompt, f"{', '.join(steps[1:])} | {found}\n")


def _value(probe: specs.Probe, value, digits: int) -> str:
    value = np.asarray(value)
    if probe.kind in (specs.MASK_ONE, specs.CATEGORICAL):
        value = np.argmax(np.abs(value), axis=-1)  # the class "no cell" is stored as -1
    if value.ndim:
        return "[" + " ".join(_value(_PLAIN, v, digits) for v in value) + "]"
    return str(int(value)) if float(value).is_integer() else f"{float(value):.{digits}g}"


_PLAIN = specs.Probe("", "", specs.SCALAR)
