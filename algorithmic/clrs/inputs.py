"""Input probes as a user gives them, as the machines read them, and as dm-clrs stores them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from algorithmic.clrs import specs
from algorithmic.clrs.traces import machine
from fl_jax.core import errors
from fl_jax.core.types import Array

Values = dict[str, Any]


def compact(name: str, given: Values, dtype) -> tuple[Values, int]:
    """Checked inputs in the form that machines read.

    Args:
        name: the algorithm.
        given: input probes by name, unbatched. `pos` and `adj` may be left out, for they follow
            from the others. A mask_one may be given as its index, letters as numbers, the `p` of
            optimal_bst without its padding.
        dtype: of scalars.

    Returns:
        (inputs, number of nodes): scalars of `dtype`, a mask_one as an int32 index, letters int32.

    Raises:
        ConfigError: an unknown algorithm or probe, or one that is missing.
        DataError: a shape that does not fit, too few nodes, numbers that are not finite, an index
            of no node or letter, an `adj` of other edges than `A`, strings that do not fit, a cycle
            where the algorithm needs none, or one along which bellman_ford never ends.
    """
    spec = specs.stage(name, specs.INPUT)
    for probe in given:
        errors.one_of(f"input of {name}", probe, spec)
    missing = [p for p in spec if p not in given and p not in ("pos", "adj")]
    if missing:
        raise errors.ConfigError(
            f"{name} also needs the input {missing[0]!r}; it takes {list(spec)}."
        )
    values = {probe: jnp.asarray(value) for probe, value in given.items()}
    lead = "q" if name == "optimal_bst" else _lead(spec)
    if values[lead].ndim == 0:
        raise errors.DataError(
            f"{lead} of {name} must have one entry per node, got a single number."
        )
    n = values[lead].shape[0]
    if n < specs.smallest(name) or (name == "segments_intersect" and n != 4):
        need = "exactly 4" if name == "segments_intersect" else f"at least {specs.smallest(name)}"
        raise errors.DataError(f"{name} needs {need} nodes, got {n}; change the inputs' length.")
    if name == "optimal_bst" and values["p"].shape == (n - 1,):
        values["p"] = jnp.pad(values["p"], (0, 1))
    values.setdefault("pos", positions(values.get("string"), n, dtype))
    out = {}
    for probe, p in spec.items():
        if probe in values:
            out[probe] = _read(name, probe, p, values[probe], n, dtype)
    out.pop("adj", None)  # follows from A
    _check(name, given, n)
    return out, n


def _lead(spec) -> str:
    """An input from whose shape the number of nodes follows."""
    sized = [k for k, p in spec.items() if k not in ("pos", "adj")
             and p.location != specs.GRAPH and p.kind != specs.MASK_ONE]  # fmt: skip
    return next((k for k in ("key", "A") if k in sized), sized[-1])


def _read(name: str, probe: str, p: specs.Probe, value: Array, n: int, dtype):
    shape = {specs.NODE: (n,), specs.EDGE: (n, n), specs.GRAPH: ()}[p.location]
    if p.kind == specs.MASK_ONE and value.ndim == 0:
        return value.astype(jnp.int32)
    if p.kind == specs.CATEGORICAL and value.shape == (*shape, p.classes):
        return jnp.argmax(value, axis=-1).astype(jnp.int32)
    if value.shape != shape:
        raise errors.DataError(
            f"{probe} of {name} must have shape {shape} for {n} nodes, got {value.shape}."
        )
    if p.kind == specs.MASK_ONE:
        return jnp.argmax(value).astype(jnp.int32)
    if p.kind == specs.CATEGORICAL:
        return value.astype(jnp.int32)
    return value.astype(jnp.int8 if p.kind == specs.MASK else dtype)


def _check(name: str, given: Values, n: int) -> None:
    """What only values show; values under a transformation cannot be looked at."""
    if any(isinstance(v, jax.core.Tracer) for v in given.values()):
        return
    for probe, p in specs.stage(name, specs.INPUT).items():
        if probe in given:
            _check_values(name, probe, p, np.asarray(given[probe]), n)
    if "adj" in given:
        edges, loops = np.asarray(given["A"]) != 0, np.eye(n, dtype=bool)
        if ((np.asarray(given["adj"]) != 0) & ~loops != edges & ~loops).any():
            raise errors.DataError(
                f"adj of {name} must mark where A is not 0; leave it out, and give edges a weight."
            )
    if name in ("topological_sort", "dag_shortest_paths"):
        reach = np.asarray(given["A"]) != 0
        for _ in range(max(len(reach), 2).bit_length()):
            reach = reach | (reach @ reach)
        if np.any(np.diagonal(reach)):
            raise errors.DataError(f"{name} needs a graph without cycles; this one has some.")
    if name == "bellman_ford" and _endless(np.asarray(given["A"], np.float64), given["s"]):
        raise errors.DataError(
            "bellman_ford never ends on a cycle whose lengths add up to less than 0; this graph has"
            " one that s reaches."
        )
    if name in specs.STRINGS:
        string = np.asarray(given["string"])
        first, second = int(np.sum(string == 0)), int(np.sum(string != 0))
        if np.any(np.diff(string) < 0) or not first or not second:
            raise errors.DataError(
                f"string of {name} must be zeros for the first text, then ones for the second,"
                f" both present; got {string.tolist()}."
            )
        if name in specs.MATCHERS and second > first:
            raise errors.DataError(
                f"the needle of {name} has {second} letters and the haystack {first}; it does not"
                " fit."
            )


def _endless(A: np.ndarray, s) -> bool:
    """Whether distances from s fall after as many rounds as there are nodes."""
    s = np.asarray(s)
    d = np.full(len(A), np.inf)
    d[int(s) if s.ndim == 0 else int(np.argmax(s))] = 0.0
    steps = np.where(A != 0, A, np.inf)
    for _ in range(len(A) if (A < 0).any() else 0):
        before, d = d, np.minimum(d, np.min(d[:, None] + steps, axis=0))
        if np.array_equal(before, d):
            return False
    return bool((A < 0).any())


def _check_values(name: str, probe: str, p: specs.Probe, value: np.ndarray, n: int) -> None:
    if p.kind == specs.SCALAR and not np.isfinite(value).all():
        raise errors.DataError(
            f"{probe} of {name} holds NaN or infinity; give finite numbers, and 0 in A for no edge."
        )
    if p.kind == specs.MASK_ONE and value.ndim:
        if np.sort(value).tolist() != [0] * (n - 1) + [1]:
            raise errors.DataError(
                f"{probe} of {name} marks one of {n} nodes: zeros and a single 1, or its index."
            )
    elif p.kind in (specs.MASK_ONE, specs.CATEGORICAL) and value.ndim <= 1:
        many = n if p.kind == specs.MASK_ONE else p.classes
        strange = value[~np.isin(value, np.arange(many))]
        if strange.size:
            raise errors.DataError(
                f"{probe} of {name} must be from 0 to {many - 1}, got {strange[0]}."
            )


def positions(string: Array | None, n: Array | int, dtype) -> Array:
    """`pos`: i / n, or for two strings i / length within each."""
    if string is None:
        return machine.ratio(jnp.arange(n), n, dtype)
    string = string.astype(jnp.int32)
    at = jnp.arange(string.shape[0], dtype=jnp.int32)
    inside = at < n
    first = jnp.sum(inside & (string == 0), dtype=jnp.int32)
    second = jnp.asarray(n, jnp.int32) - first
    local, length = jnp.where(string == 0, at, at - first), jnp.where(string == 0, first, second)
    ratio = machine.ratio(local, jnp.maximum(length, 1), dtype)
    return jnp.where(inside, ratio, jnp.zeros((), dtype))


def stored(name: str, inputs: Values, n: Array, dtype) -> Values:
    """Compact inputs as dm-clrs stores them, zero on padding: one-hot masks and letters, `adj`."""
    spec = specs.stage(name, specs.INPUT)
    size = inputs["pos"].shape[-1]
    at = jnp.arange(size, dtype=jnp.int32)
    inside = at < n
    out = {}
    for probe, p in spec.items():
        if probe == "adj":
            edge = (inputs["A"] != 0) | (at[:, None] == at[None, :])
            out[probe] = (edge & inside[:, None] & inside[None, :]).astype(jnp.int8)
        elif p.kind == specs.MASK_ONE:
            out[probe] = (at == inputs[probe]).astype(jnp.int8)
        elif p.kind == specs.CATEGORICAL:
            letters = jnp.arange(p.classes, dtype=jnp.int32)
            hot = (inputs[probe][:, None] == letters[None, :]) & inside[:, None]
            out[probe] = hot.astype(jnp.int8)
        elif p.kind == specs.SCALAR:
            out[probe] = inputs[probe].astype(dtype)
        else:
            out[probe] = inputs[probe]
    return out
