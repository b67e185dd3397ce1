"""An algorithm of one's own, known by its name from then on as the thirty are: to `clrs.trace` and
`clrs.sample`, to training, evaluation, the reader and traces as text.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from algorithmic.clrs import samplers, specs, traces
from algorithmic.clrs.traces.machine import Machine
from fl_jax.core import errors
from fl_jax.core.types import Array, Key

Draw = Callable[[Key[Array, ""], int, Array], Mapping[str, Array]]
UNLIKE = ("optimal_bst", "segments_intersect", *specs.STRINGS)  # whose inputs have sizes of theirs


def register(
    name: str,
    probes: str | Mapping[str, specs.Probe],
    machine: Machine,
    draw: Draw | str,
    *,
    smallest: int = 2,
) -> None:
    """Makes an algorithm known by its name, once in a process.

    Args:
        name: that none is known by.
        probes: `inputs | outputs | hints`, each `name:place.kind` as in the table of
            `algorithmic.clrs.specs`, or {name: Probe}. Among the inputs are `pos:N.sc` and one on
            nodes or edges; `adj:E.m` follows from `A:E.sc` and is neither drawn nor given. At
            least one hint, and one output that is no scalar, for these alone are scored.
        machine: what it does, on padded arrays (`algorithmic.clrs.traces.machine`): a mask_one
            and a class as an integer, masks int8, pointers int16, scalars in the inputs' dtype or
            integers.
        draw: (key, N, n) -> the inputs but `pos` and `adj`, of N places of which the first n, a
            traced int32, are nodes and the others 0: scalars float32, a mask_one and a class
            int32, masks int8. Or the name of one of the thirty, whose inputs are drawn.
        smallest: nodes, the fewest that it is defined for.

    Raises:
        ConfigError: a name that is taken, probes that the network has no place for, inputs, hints
            or outputs that are not as the probes say.
    """
    if not name.isidentifier() or name in {**specs.SPECS, **specs.MORE, **specs.OWN}:
        raise errors.ConfigError(
            f"an algorithm's name is letters, digits and _, and not known already, got {name!r};"
            " programs that were compiled for a name are kept, so that it cannot change."
        )
    errors.whole("smallest", smallest, 1)
    spec = specs.parse(probes) if isinstance(probes, str) else dict(probes)
    _check_probes(name, spec)
    if isinstance(draw, str):
        errors.one_of("algorithm whose inputs are drawn", draw, specs.ALGORITHMS)
        if draw in UNLIKE:
            raise errors.ConfigError(
                f"the inputs of {draw} have a size of their own; give a function that draws."
            )
        sampler = lambda _, key, size, n, config: samplers.inputs_of(draw, key, size, n, config)
    else:
        sampler = lambda _, key, size, n, config: dict(draw(key, size, n))
    check(name, spec, machine, sampler, smallest)
    samplers.add(name, sampler, draw if isinstance(draw, str) else None)
    traces.MACHINES[name] = machine
    specs.OWN[name], specs.OWN_SMALLEST[name] = spec, smallest


def check(name: str, spec: Mapping[str, specs.Probe], machine: Machine, sampler, smallest: int):
    """Refuses an algorithm whose values are not what its probes say; nothing is computed.

    Raises:
        ConfigError: the first value that is not, or a state that changes its shape or dtype.
    """
    for dtype in ("float32", "float64"):  # of training, and of `clrs.trace`
        with jax.enable_x64(dtype == "float64"):
            _check_in(name, spec, machine, sampler, smallest, dtype)
    if int(machine.longest(smallest)) < 1:
        raise errors.ConfigError(f"longest of {name} must be at least 1 hint at n = {smallest}.")


def _check_in(name, spec, machine, sampler, smallest, dtype):
    size = smallest + 3
    like = jax.ShapeDtypeStruct
    given = jax.eval_shape(lambda key: _drawn(sampler, key, size, smallest), jax.random.key(0))
    _compare(name, spec, specs.INPUT, given, size, (), "float32")
    kind = lambda v: dtype if jnp.issubdtype(v.dtype, jnp.floating) else v.dtype
    given = {probe: like(v.shape, kind(v)) for probe, v in given.items()}
    given["pos"], n = like((size,), dtype), like((), jnp.int32)
    state = jax.eval_shape(machine.start, given, n)
    after, hints, last = jax.eval_shape(machine.step, given, n, state)
    if jax.tree.map(_kind, state) != jax.tree.map(_kind, after):
        raise errors.ConfigError(
            f"a step of {name} makes of the state {_shown(state)} {_shown(after)}; names, shapes"
            f" and dtypes must stay, in {dtype} too."
        )
    if _kind(last) != ((), "bool"):
        raise errors.ConfigError(
            f"a step of {name} must say with one bool whether its hint is the last, got"
            f" {_shown(last)}."
        )
    _compare(name, spec, specs.HINT, hints, size, machine.ticks, dtype)
    found = jax.eval_shape(machine.outputs, given, n, state)
    _compare(name, spec, specs.OUTPUT, found, size, machine.ticks, dtype)


def _drawn(sampler, key, size, n) -> dict[str, Any]:
    found = sampler(None, key, size, jnp.int32(n), samplers.Options())
    return {probe: jnp.asarray(v) for probe, v in found.items() if probe not in ("pos", "adj")}


def _check_probes(name, spec):
    if "pos" not in spec or spec["pos"] != specs.Probe(specs.INPUT, specs.NODE, specs.SCALAR):
        raise errors.ConfigError(f"{name} needs the input pos:N.sc; every algorithm has it.")
    known = {(p.stage == specs.INPUT, p.location, p.kind)
             for of in specs.SPECS.values() for p in of.values()}  # fmt: skip
    for probe, p in spec.items():
        if (p.stage == specs.INPUT, p.location, p.kind) not in known:
            raise errors.ConfigError(
                f"{probe} of {name} is a {p.kind} on the {p.location} as {p.stage}, for which the"
                " network has no place; none of the thirty has one."
            )
    of = lambda stage: [k for k, p in spec.items() if p.stage == stage]
    lead = [k for k in of(specs.INPUT) if k not in ("pos", "adj")
            and spec[k].location != specs.GRAPH and spec[k].kind != specs.MASK_ONE]  # fmt: skip
    if not lead or ("adj" in spec and "A" not in spec):
        raise errors.ConfigError(
            f"{name} needs an input on nodes or edges beside pos, such as key:N.sc or A:E.sc, and"
            " adj:E.m only beside A."
        )
    scored = [k for k in of(specs.OUTPUT) if spec[k].kind != specs.SCALAR]
    if not of(specs.HINT) or not scored:
        raise errors.ConfigError(f"{name} needs a hint, and an output that is no scalar.")
    pointing = [k for k in of(specs.OUTPUT) if spec[k].kind in (specs.POINTER, specs.PERMUTATION)]
    if any(spec[k].kind == specs.PERMUTATION for k in pointing) and len(pointing) > 1:
        raise errors.ConfigError(
            f"{name} has the permutation among its outputs that point, {pointing}; it can be the"
            " only one."
        )


def _compare(name, spec, stage, found, size, ticks, dtype):
    """What came against what the probes of a stage say."""
    follows = ("pos", "adj") if stage == specs.INPUT else ()
    wanted = {k: p for k, p in spec.items() if p.stage == stage and k not in follows}
    if set(found) != set(wanted):
        raise errors.ConfigError(
            f"the {stage}s of {name} should be {sorted(wanted)}, got {sorted(found)}."
        )
    for probe, p in wanted.items():
        shape = {specs.NODE: (size,), specs.EDGE: (size, size), specs.GRAPH: ()}[p.location]
        shape = () if p.kind == specs.MASK_ONE else shape
        value = found[probe]
        whole = jnp.issubdtype(value.dtype, jnp.signedinteger)
        exact = {specs.MASK: "int8", specs.POINTER: "int16", specs.PERMUTATION: "int16"}
        if p.kind in exact:
            right, said = value.dtype == exact[p.kind], exact[p.kind]
        elif p.kind == specs.SCALAR and probe not in ticks:
            right, said = whole or value.dtype == dtype, dtype
        else:
            right, said = whole, "signed integers"
        if value.shape != shape or not right:
            wide = " with 64-bit types enabled; name dtypes" if jax.config.x64_enabled else ""
            raise errors.ConfigError(
                f"{stage} {probe} of {name}, a {p.kind} on the {p.location}, should be {said} of"
                f" shape {shape} where {size} places are, got {_shown(value)}{wide}."
            )


def _kind(value):
    return tuple(value.shape), value.dtype.name


def _shown(values) -> str:
    shown = jax.tree.map(lambda v: f"{v.dtype.name}{list(v.shape)}", values)
    return str(shown).replace("'", "")
