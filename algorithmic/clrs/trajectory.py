"""`trace` and `sample`: one run of an algorithm, and a batch of runs on random inputs."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from algorithmic.clrs import inputs as probes
from algorithmic.clrs import samplers, specs, traces
from algorithmic.clrs.traces import machine
from fl_jax.core import errors
from fl_jax.core.types import Array, Int, Key


class Trajectory(NamedTuple):
    """A run, or a batch of runs with `batch` as first axis (second of hints).

    Masks, one-hots and classes are int8 (-1 = masked), pointers int16, scalars floating.
    """

    inputs: dict[str, Array]
    hints: dict[str, Array]  # time-major, zero beyond `length`
    outputs: dict[str, Array]
    length: Int[Array, " *batch"]  # true number of hints; more than were kept if cut short


def longest(name: str, n: int) -> int:
    """A number of hints that no input of n nodes exceeds."""
    specs.of(name)
    return max(1, traces.MACHINES[name].longest(n))


def trace(name: str, *, max_length: int | None = None, **inputs: Any) -> Trajectory:
    """Runs one algorithm and shows what dm-clrs stores of the run, before its training tricks.

    Called on arrays it computes in float64, as the reference does, whatever their dtype; so every
    decision is the reference's. Under `jit` or `vmap` it computes in the dtype of its inputs, and
    two path lengths closer than that dtype's rounding may be told apart differently.

    Args:
        name: one of `specs.ALGORITHMS`.
        max_length: hints kept; the default, `longest(name, n)`, is enough for every input.
        **inputs: the input probes of the spec by name, unbatched: `A` (n, n), `key` (n,), `s`
            one-hot (n,) or an index, `key` of strings (n, 4) or letters as numbers (n,), ...
            `pos` and `adj` may be left out.

    Returns:
        Trajectory without a batch axis: hints (max_length, ...).

    Raises:
        ConfigError: an unknown algorithm or probe, a missing probe, a length that is not positive,
            or a run that is longer than the machine of an algorithm of one's own says.
        DataError: inputs whose shapes do not fit or that the algorithm is not defined for.

    Example:
        >>> import numpy as np
        >>> result = trace("insertion_sort", key=np.array([0.3, 0.1, 0.2]))
        >>> result.outputs["pred"].tolist(), int(result.length)
        ([2, 1, 1], 3)
    """
    specs.of(name)
    if max_length is not None:
        errors.whole("max_length", max_length, 1)
    if any(isinstance(v, jax.core.Tracer) for v in inputs.values()):
        floats = [v.dtype for v in inputs.values() if jnp.issubdtype(v.dtype, jnp.floating)]
        dtype = floats[0] if floats else jnp.float32
        compact, n = probes.compact(name, inputs, dtype)
        length = max_length or longest(name, n)
        return _finish(name, compact, n, machine.run_one, length, dtype)
    given = {probe: np.asarray(value) for probe, value in inputs.items()}
    kept = [v.dtype for v in given.values() if v.dtype in (np.float32, np.float64)]
    dtype = max(kept, key=lambda d: d.itemsize) if kept else np.dtype(np.float32)
    with jax.enable_x64(True):
        compact, n = probes.compact(name, given, jnp.float64)
        run = _trace_exact(name, compact, max_length or longest(name, n), dtype.name)
    _check_ended(name, n, run.length)
    return run


@functools.partial(jax.jit, static_argnums=(0, 2, 3))
def _trace_exact(name, compact, max_length, dtype):
    n = jnp.int32(compact["pos"].shape[0])
    batched = jax.tree.map(lambda v: v[None], compact)
    run = lambda m, x, n, t: _unbatch(machine.run_batch(m, batched, n[None], t))
    return _finish(name, compact, n, run, max_length, dtype)


def _unbatch(result):
    hints, outputs, length = result
    return {k: v[:, 0] for k, v in hints.items()}, {k: v[0] for k, v in outputs.items()}, length[0]


def _finish(name, compact, n, run, max_length, dtype):
    n = jnp.asarray(n, jnp.int32)
    hints, outputs, length = run(traces.MACHINES[name], compact, n, max_length)
    stored = probes.stored(name, compact, n, dtype)
    return expand(name, Trajectory(stored, hints, outputs, length), dtype)


def expand(name: str, run: Trajectory, dtype) -> Trajectory:
    """Compact hints and outputs as dm-clrs stores them; hints are zero beyond `length`."""
    spec, ticks = specs.of(name), traces.MACHINES[name].ticks
    nodes = run.inputs["pos"].shape[-1]
    count = next(iter(run.hints.values())).shape[0]
    live = jax.vmap(lambda t: t < run.length)(jnp.arange(count, dtype=jnp.int32))

    def one(probe, value):
        return machine.expand(spec[probe], value, nodes, probe in ticks, dtype)

    def hint(probe, value):
        value = one(probe, value)
        if spec[probe].kind not in (specs.MASK_ONE, specs.CATEGORICAL):
            return value  # compact zeros are zeros
        return value * live.astype(jnp.int8).reshape(*live.shape, *[1] * (value.ndim - live.ndim))

    hints = {probe: hint(probe, value) for probe, value in run.hints.items()}
    outputs = {probe: one(probe, value) for probe, value in run.outputs.items()}
    return Trajectory(run.inputs, hints, outputs, run.length)


def sample(
    name: str,
    key: Key[Array, ""],
    batch_size: int,
    length: int,
    *,
    max_length: int | None = None,
    **options: Any,
) -> Trajectory:
    """A batch of runs on random inputs, padded to a common number of hints.

    Called on a key it computes the runs in float64 from float32 inputs, as `trace` does, and makes
    room for the longest run of the batch. Under `jit` it computes in float32 and keeps
    `max_length` hints.

    Args:
        name: one of `specs.ALGORITHMS`.
        key: decides the inputs.
        batch_size: number of runs.
        length: n, nodes of each; both strings together, 4 for segments_intersect whatever is
            given, and n + 1 nodes come of optimal_bst.
        max_length: hints kept, (max_length, batch, ...); None = as many as are needed.
        **options: of `samplers.Options`: p, needle, random_pos, ...

    Returns:
        Trajectory with a leading batch axis, hints (time, batch, ...), scalars float32.

    Raises:
        ConfigError: an unknown algorithm or option, or sizes out of range.

    Example:
        >>> import jax
        >>> batch = sample("bfs", jax.random.key(0), 8, 16)
        >>> batch.outputs["pi"].shape, batch.inputs["A"].dtype
        ((8, 16), dtype('float32'))
    """
    errors.whole("length", length)
    errors.whole("batch_size", batch_size, 1)
    if max_length is not None:
        errors.whole("max_length", max_length, 1)
    config = samplers.options(name, length, **options)
    if isinstance(key, jax.core.Tracer):
        return _sample(name, key, batch_size, length, max_length, config, "float32")
    with jax.enable_x64(True):
        tried = [max_length] if max_length else rooms(name, samplers.nodes(name, length))
        for room in tried:
            batch = _sample_jit(name, key, batch_size, length, room, config, "float64")
            if room == tried[-1] or int(jnp.max(batch.length)) <= room:
                break
    _check_ended(name, samplers.nodes(name, length), batch.length)
    return batch


def _check_ended(name, n, length):
    """Refuses runs that `longest` has cut off in their middle, outputs and all."""
    bound = longest(name, n)
    if not isinstance(length, jax.core.Tracer) and int(jnp.max(length)) > bound:
        raise errors.ConfigError(
            f"a run of {name} on {n} nodes has not ended after {bound} hints, which its machine's"
            " `longest` says none exceeds; let it give more."
        )


def rooms(name: str, n: int) -> list[int]:
    """Numbers of hints to try: what runs commonly take, doubled until nothing can exceed it."""
    bound = longest(name, n)
    rooms = []
    room = min(bound, _COMMON.get(name, lambda n: bound)(n))
    while room < bound:
        rooms.append(room)
        room *= 2
    return [*rooms, bound]


# Above the longest of 10,000 runs on the default inputs at n = 16 and at n = 64.
_COMMON = {
    "articulation_points": lambda n: 7 * n,
    "bridges": lambda n: 7 * n,
    "bellman_ford": lambda n: 12,
    "bfs": lambda n: 8,
    "heapsort": lambda n: 8 * n,
    "jarvis_march": lambda n: n * (4 + n // 4),
    "kmp_matcher": lambda n: 24 + n,
    "mst_kruskal": lambda n: 6 * n,
    "naive_string_matcher": lambda n: 24 + n,
    "quickselect": lambda n: 6 * n,
    "quicksort": lambda n: 8 * n,
    "lcs_length": lambda n: 3 * n // 4,
}


def _sample(name, key, batch_size, length, max_length, config, dtype):
    size = samplers.nodes(name, length)
    compact, n = samplers.draw(name, key, batch_size, length, config)
    compact = _cast(compact, dtype)
    room = max_length or longest(name, size)
    run = machine.run_batch(traces.MACHINES[name], compact, n, room, jnp.float32)
    stored = jax.vmap(lambda x, n: probes.stored(name, x, n, jnp.float32))(compact, n)
    return expand(name, Trajectory(stored, *run), jnp.float32)


def _cast(compact, dtype):
    floating = lambda v: jnp.issubdtype(v.dtype, jnp.floating)
    return {k: v.astype(dtype) if floating(v) else v for k, v in compact.items()}


_sample_jit = jax.jit(_sample, static_argnums=(0, 2, 3, 4, 5, 6))
