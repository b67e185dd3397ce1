"""`python -m experiments bench clrs_step`: a training step, side by side with dm-clrs.

    python -m experiments bench clrs_step                        bfs, insertion_sort, dijkstra
    python -m experiments bench clrs_step lcs_length bridges     others

Both take the same batch, which dm-clrs's sampler made, with the same padded length, and train the
paper's single-task Triplet-GMPNN (h 128, batch 32, n = 16) from the same parameters, which dm-clrs
drew: gradient, clipping, Adam. Before anything is timed, the loss under these parameters, without
Gumbel noise, must agree to 1e-5; and where no noise is added, so must the loss after all steps to
1e-3, which it does only if the gradients do. Process CPU-seconds, medians, because the machine may
be busy; wall seconds beside them.
"""

import pathlib
import statistics
import sys
import tempfile
import time

import jax
import numpy as np
import optax
from jax import flatten_util

from algorithmic.clrs import specs
from experiments.bench import measure, peers

NAMES = ("bfs", "insertion_sort", "dijkstra")
REPEATS = 5
HIDDEN = 128


def network(name: str, model):
    """A task's (group, tables, initial parameters, loss, optimizer, training step) by itself."""
    from algorithmic.clrs import net, training

    group = net.Group.of((name,))
    table = jax.tree.map(lambda v: v[0], net.tables(group))
    key = jax.random.key(0)
    transform = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3))

    def start():
        own = jax.tree.map(lambda v: v[0], net.init_tasks(key, group, model))
        return net.processor(model).init(key), own

    def loss(params, lane, key):
        return training.task_loss(
            *params, table, lane, key, model=model, permutation=group.permutation
        )[0]

    def step(params, opt, lane, key):
        flat, unravel = flatten_util.ravel_pytree(params)
        value, grads = jax.value_and_grad(lambda flat: loss(unravel(flat), lane, key))(flat)
        with jax.named_scope("optimizer"):
            updates, opt = transform.update(grads, opt, flat)
            return unravel(flat + updates), opt, value

    return group, table, start, loss, transform, step


def ours(name: str, file: pathlib.Path, *, bfloat16: bool) -> dict[str, float]:
    """CPU and wall seconds of a step, CPU-seconds of the first one, loss without noise and that
    of the last step, parameters."""
    from algorithmic.clrs import lanes, net, reader
    from experiments.bench import clrs_parameters

    found = np.load(file)
    part = lambda stage: {
        k.removeprefix(f"{stage} "): found[k] for k in found.files if k.startswith(f"{stage} ")
    }
    model = net.Config(hidden=HIDDEN, bfloat16=bfloat16)
    group, table, start, loss, transform, step = network(name, model)
    batch = reader.Stored(part("input"), part("hint"), part("output"), found["lengths"])
    lane = lanes.whole(reader.runs(name, group, batch))
    theirs = clrs_parameters.read(name, model, part("parameter"))
    quiet = float(jax.jit(loss)(theirs, lane, None))
    begin = time.process_time()
    params = jax.block_until_ready(jax.jit(start)())
    same = jax.tree.map(lambda a, b: a.shape == b.shape, params, theirs)
    assert all(jax.tree.leaves(same)), same
    params = theirs
    opt = transform.init(flatten_util.ravel_pytree(params)[0])
    jitted = jax.jit(step, donate_argnums=(0, 1))
    times = []
    for i in range(REPEATS + 1):
        cpu, wall = time.process_time(), time.perf_counter()
        params, opt, value = jitted(params, opt, lane, jax.random.key(i))
        jax.block_until_ready((params, value))
        times.append((time.process_time() - cpu, time.perf_counter() - wall))
        if i == 0:
            first = time.process_time() - begin
    cpu, wall = (statistics.median(column) for column in zip(*times[1:], strict=True))
    return {
        "cpu": cpu, "wall": wall, "first": first, "loss": quiet, "last": float(value),
        "parameters": _live(params, table),
    }  # fmt: skip


def _live(params, table) -> int:
    """Parameters that are used: a bias per probe where the table has one per channel."""
    shared, own = params
    count = sum(leaf.size for leaf in jax.tree.leaves((shared, own)))
    for stage, tabled in (("encode_inputs", table.inputs), ("encode_hints", table.hints)):
        for where in ("node", "edge", "graph"):
            biases = own[stage][where]["b"]
            count -= int(np.sum(np.asarray(getattr(tabled, where).head) == 0)) * biases.shape[1]
    return count


def agree(name: str, theirs, mine: dict[str, float], *, bfloat16: bool) -> None:
    """Both are the same network on the same batch, or a sentence says what differs."""
    count = sum(theirs[k].size for k in theirs.files if k.startswith("parameter "))
    assert mine["parameters"] == count, f"{mine['parameters']} parameters, dm-clrs has {count}."
    # bfloat16 rounds each operand to 8 bits
    first, last = (1e-2, 5e-2) if bfloat16 else (1e-5, 1e-3)
    pairs = [("first", mine["loss"], float(theirs["loss"]), first)]
    if name not in specs.SORTS:  # these train with noise of each side's own
        pairs.append(("last", mine["last"], float(theirs["losses"][-1]), last))
    for which, a, b, most in pairs:
        assert abs(a - b) <= most * b, f"{name}: {which} loss {a}, dm-clrs has {b}."


def main(argv: list[str] | None = None) -> None:
    """Prints a line per algorithm and the surroundings."""
    jax.config.update("jax_enable_compilation_cache", False)  # first steps compile, on both sides
    print(measure.surroundings(), flush=True)
    columns = (
        "algorithm", "dtype", "loss: dm-clrs", "ours", "dm-clrs cpu s", "ours cpu s", "ratio",
        "wall ratio", "first step cpu s: dm-clrs", "ours",
    )  # fmt: skip
    print(" | ".join(columns), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for name in argv or NAMES:
            file = pathlib.Path(folder) / f"{name}.npz"
            without = {"JAX_ENABLE_COMPILATION_CACHE": "false"}
            peers.run("clrs", "clrs_step.py", name, str(file), str(REPEATS), environment=without)
            theirs = np.load(file)
            cpu, wall = np.median(theirs["times"][1:], axis=0)
            first = float(theirs["init"] + theirs["times"][0, 0])
            for bfloat16 in (False, True):
                mine = ours(name, file, bfloat16=bfloat16)
                agree(name, theirs, mine, bfloat16=bfloat16)
                row = (
                    name, "bfloat16" if bfloat16 else "float32", f"{float(theirs['loss']):.6f}",
                    f"{mine['loss']:.6f}", f"{cpu:.3f}",
                    f"{mine['cpu']:.3f}", f"{cpu / mine['cpu']:.2f}",
                    f"{wall / mine['wall']:.2f}", f"{first:.1f}", f"{mine['first']:.1f}",
                )  # fmt: skip
                print(" | ".join(row), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
