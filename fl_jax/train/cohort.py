"""The one executor of a function over many clients, shadow models, seeds or grid cells.

A function of one item is written unbatched; `map` stacks its results and `sum` adds them up as
they come, so that memory does not grow with the cohort. How the items run is a `Plan`: side by
side (`vmap`), one after another (`scan`), in blocks (`chunk`), or in a plain Python loop that
names the item and the stage when something fails (`debug`, the slow twin of the others). With a
mesh, the items are dealt over its `clients` axis.

Items of uneven length need no buckets: give `cost` (say, steps a client will take) and let the
function loop that many times. Items are then sorted by cost, so the members of a block finish
together, and one program serves every cohort that is ever drawn.

Which plan is fastest depends on the backend and the model; `fastest` measures it once.
"""

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from fl_jax.core import errors, tree
from fl_jax.core.types import Array, PyTree, Shaped
from fl_jax.train import mesh as meshes

AXIS = "clients"
KINDS = ("vmap", "scan", "chunk", "debug")


@dataclasses.dataclass(frozen=True)
class Plan:
    """How a cohort runs: `vmap`, `scan`, `chunk:K` (K side by side) or `debug`."""

    kind: str = "scan"
    width: int = 1  # items side by side; used by chunk alone

    def __post_init__(self):
        if self.kind not in KINDS or self.width < 1:
            raise errors.ConfigError(
                f"a cohort plan is one of {', '.join(KINDS)}, chunk with a width of 1 or more, got"
                f" {self.kind!r} of width {self.width}; `Plan.parse` reads chunk:K."
            )

    @classmethod
    def parse(cls, text: str) -> "Plan":
        """The plan that `str(plan)` names.

        Example:
            >>> Plan.parse("chunk:8")
            Plan(kind='chunk', width=8)
        """
        kind, _, width = text.partition(":")
        errors.one_of("cohort plan", kind, KINDS)
        if (kind == "chunk") != bool(width) or (width and not width.isdigit()) or width == "0":
            raise errors.ConfigError(
                f"a cohort plan is vmap, scan, debug or chunk:K with K >= 1, got {text!r}."
            )
        return cls(kind, int(width or 1))

    def __str__(self) -> str:
        return f"chunk:{self.width}" if self.kind == "chunk" else self.kind

    def side_by_side(self, items: int) -> int:
        """How many of so many items run at once."""
        return {"vmap": items, "chunk": min(self.width, items)}.get(self.kind, 1)


class CohortError(RuntimeError):
    """What the debug plan raises: which item, at which stage, and what went wrong there."""


def map(  # `cohort.map` is what it is
    fn: Callable[..., Any],
    items: PyTree,
    *,
    shared: tuple = (),
    plan: Plan = Plan("vmap"),
    mesh: Mesh | None = None,
    cost: Shaped[Array, " items"] | None = None,
    stage: str = "map",
) -> PyTree:
    """fn of every item, stacked on a leading axis in the order of the items.

    Args:
        fn: (item, *shared) -> pytree of arrays; unbatched.
        items: pytree whose leaves have a leading axis of one length, the number of items.
        shared: what every item sees, such as the global model. With a mesh it must come this
            way: a copy goes to every device, where a value that fn closes over may lie on a
            mesh of its own.
        plan: how they run.
        mesh: a mesh with a `clients` axis to deal the items over; None = where the caller is.
            Its other axes, where there are any, are for a function of one item that itself
            computes on several devices: a large model, split over `fsdp` and `tensor`.
        cost: (items,) relative cost of each, to even out uneven items.
        stage: what the debug plan calls this, should it fail.
    """
    run = lambda item, *shared: ((), fn(item, *shared))
    return _execute(run, items, shared, plan, mesh, cost, stage)[1]


def sum(
    fn: Callable[..., tuple[Any, Any]],
    items: PyTree,
    *,
    shared: tuple = (),
    plan: Plan = Plan("vmap"),
    mesh: Mesh | None = None,
    cost: Shaped[Array, " items"] | None = None,
    stage: str = "sum",
) -> tuple[PyTree, PyTree]:
    """The contributions added up and the infos stacked, of fn(item, *shared) = (both).

    Only one block of contributions exists at a time. They are added in float32 where they are
    narrower (of 1,000 ones, bfloat16 itself makes 256), and rounded in the end. Arguments as in
    `map`.
    """
    return _execute(fn, items, shared, plan, mesh, cost, stage)


def fastest(
    runner: Callable[[Plan], Callable[[], Any]], plans: Sequence[Plan], *, repeats: int = 3
) -> tuple[Plan, dict[str, float]]:
    """The plan whose run takes the least time, and the seconds of each.

    Args:
        runner: plan -> function without arguments that does the work and returns its arrays;
            its first call (compilation) is not counted.
        plans: the candidates; one candidate is returned unmeasured.
        repeats: calls per plan; the shortest counts.
    """
    if len(plans) == 1:
        return plans[0], {}
    seconds = {}
    for plan in plans:
        call = runner(plan)
        jax.block_until_ready(call())
        times = []
        for _ in range(repeats):
            start = time.perf_counter()
            jax.block_until_ready(call())
            times.append(time.perf_counter() - start)
        seconds[str(plan)] = min(times)
    order = np.array([seconds[str(plan)] for plan in plans])
    if jax.process_count() > 1:  # every process must compile the same program
        from jax.experimental import multihost_utils

        order = multihost_utils.broadcast_one_to_all(order)
    return plans[int(np.argmin(order))], seconds


def candidates(backend: str, items: int) -> list[Plan]:
    """Plans worth measuring for this many items on a `cpu`, `gpu` or `tpu`."""
    if backend == "cpu":
        return [Plan("scan"), Plan("vmap")] if items > 1 else [Plan("scan")]
    widths = [w for w in (8, 32, 128) if w < items]
    return [*(Plan("chunk", w) for w in widths), Plan("vmap")]


def _execute(fn, items, shared, plan, mesh, cost, stage):
    lengths = {leaf.shape[0] for leaf in jax.tree.leaves(items)}
    if len(lengths) != 1:
        raise ValueError(f"items of one cohort need one leading length, got {sorted(lengths)}.")
    count = lengths.pop()
    if not count or (cost is not None and cost.shape != (count,)):
        raise ValueError(
            "a cohort needs one item or more, and `cost` one number for each, got"
            f" {count} items and {'no cost' if cost is None else f'a cost of shape {cost.shape}'}."
        )
    if plan.kind == "debug":
        return _debug(fn, items, shared, count, stage)
    devices = mesh.shape[AXIS] if mesh is not None else 1
    order = jnp.arange(count) if cost is None else jnp.argsort(-cost)
    # Each device takes whole blocks of its own; the tail is filled with the last (cheapest)
    # item again, whose contribution does not count.
    width = plan.side_by_side(-(-count // devices))
    padded = -(-count // (devices * width)) * devices * width
    slots = jnp.minimum(jnp.arange(padded), count - 1)
    counts = jnp.arange(padded) < count
    # Slot s of the sorted items goes to device s % devices: the load is even, and neighbours in
    # cost share a block.
    deal = jnp.arange(padded).reshape(-1, devices).T.reshape(-1)
    taken = order[slots][deal]
    blocks = jax.tree.map(lambda leaf: leaf[taken], items)
    if devices == 1:
        run = lambda item: fn(item, *shared)
        total, infos = _blocks(run, blocks, counts[deal], width, lambda total: total)
    else:
        total, infos = _over_devices(fn, blocks, counts[deal], shared, width, mesh)
    # Where the result of item i lies: undo the deal, then the sort.
    position = jnp.zeros(padded, jnp.int32).at[deal].set(jnp.arange(padded, dtype=jnp.int32))
    back = jnp.zeros(count, jnp.int32).at[order].set(position[:count])
    return total, jax.tree.map(lambda leaf: leaf[back], infos)


def _blocks(fn, items, counts, width, gather):
    """(sum, infos) of the items, `width` at a time; `gather` adds what other devices have."""
    batched = jax.tree.map(
        lambda a: a.reshape(a.shape[0] // width, width, *a.shape[1:]), (items, counts)
    )

    def block(total, inputs):
        block_items, block_counts = inputs
        if width == 1:  # no batch axis inside: `vmap` of one would still batch every matmul
            one = jax.tree.map(lambda a: a[0], block_items)
            contribution, info = fn(one)
            contribution, info = jax.tree.map(lambda a: a[None], (contribution, info))
        else:
            contribution, info = jax.vmap(fn)(block_items)

        def add(t, c):
            kept = jnp.where(block_counts.reshape(-1, *[1] * (c.ndim - 1)), c, jnp.zeros_like(c))
            return t + jnp.sum(kept, axis=0, dtype=t.dtype)

        return jax.tree.map(add, total, contribution), info

    first = jax.tree.map(lambda a: a[0, 0], batched[0])
    shapes = jax.eval_shape(fn, first)[0]
    total = tree.wide(tree.zeros_like(shapes))
    if counts.shape[0] == width:
        total, infos = block(total, jax.tree.map(lambda a: a[0], batched))
    else:
        total, infos = jax.lax.scan(block, total, batched)
        infos = jax.tree.map(lambda a: a.reshape(len(a) * width, *a.shape[2:]), infos)
    return tree.cast(gather(total), shapes), infos


def _over_devices(fn, items, counts, shared, width, mesh):
    """As `_blocks`, every place on the `clients` axis taking an equal share of the items.

    A place may be several devices, along the mesh's other axes, and `shared` lie split over them.
    """

    def local(items, counts, shared):
        add = lambda total: jax.lax.psum(total, AXIS)
        return _blocks(lambda item: fn(item, *shared), items, counts, width, add)

    split = PartitionSpec(AXIS)
    # Unchecked: the loops inside the function start from constants, which do not vary over devices.
    copies = PartitionSpec()
    dealt = meshes.shard_map(
        local, mesh, (split, split, copies), (copies, split), over=AXIS, check=False
    )
    return dealt(items, counts, shared)


def _debug(fn, items, shared, count, stage):
    """One jitted call per item; the first that raises or returns NaN is named."""
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(items)):
        raise errors.ConfigError(
            "the debug plan runs items one by one and cannot be traced; call the round without"
            " jax.jit, or choose scan, vmap or chunk:K."
        )
    call = jax.jit(fn)
    total, infos = None, []
    for i in range(count):
        item = jax.tree.map(lambda leaf, i=i: leaf[i], items)
        try:
            contribution, info = call(item, *shared)
            for name, leaf in tree.named_leaves((contribution, info)).items():
                if jnp.issubdtype(leaf.dtype, jnp.inexact) and not jnp.all(jnp.isfinite(leaf)):
                    raise FloatingPointError(f"its result {name} is not finite")
        except Exception as error:
            shown = jax.tree.map(_shown, item)
            raise CohortError(
                f"{stage} failed for item {i} of {count}, {shown}: {error}"
            ) from error
        total = (
            tree.wide(contribution) if total is None else tree.add(total, tree.wide(contribution))
        )
        infos.append(info)
    return tree.cast(total, contribution), jax.tree.map(lambda *leaves: jnp.stack(leaves), *infos)


def _shown(leaf):
    """A number as it is, anything else (an array, a key) by its shape."""
    opaque = leaf.ndim > 0 or jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return leaf.shape if opaque else leaf.tolist()
