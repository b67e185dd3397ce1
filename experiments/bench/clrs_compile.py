"""`python -m experiments bench clrs_compile`: what it costs to compile the thirty-task step.

    python -m experiments bench clrs_compile             beside dm-clrs
    python -m experiments bench clrs_compile --alone     ours only

Ours: making the initial state, as a run does it, and tracing and compiling one update of the
paper's multi-task model (h 128, batch 32, 16 steps) on all thirty algorithms; apart from that the
sampling of their batches, which dm-clrs does in NumPy. dm-clrs: eager initialisation and first
step, which compiles, of five algorithms one by one (h 128, batch 32, n = 16) in one process.
CPU-seconds; no compilation cache.
"""

import argparse
import json
import pathlib
import tempfile
import time

from experiments.bench import measure, peers

NAMES = ("bfs", "insertion_sort", "dijkstra", "lcs_length", "floyd_warshall")


def ours() -> dict[str, float]:
    """CPU-seconds by what is compiled."""
    import jax

    from algorithmic.clrs import net, training

    model, config = net.Config(processor="triplet_mpnn"), training.Training()
    key = jax.random.key(0)
    found = {}

    def clock(what, work):
        start = time.process_time()
        made = jax.block_until_ready(work())
        found[what] = time.process_time() - start
        print(f"{what}: {found[what]:.1f}", flush=True)
        return made

    state = clock("initial state", lambda: training.init(key, model, config))
    data = jax.eval_shape(lambda: training.batch(key, config))
    update = jax.jit(training.make(model, config))
    clock("update", lambda: update.lower(state, data, key).compile() and None)
    sampling = jax.jit(lambda key: training.batch(key, config))
    clock("sampling", lambda: sampling.lower(key).compile() and None)
    return found


def main(argv: list[str] | None = None) -> None:
    """Prints both sides and the ratio."""
    import jax

    parser = argparse.ArgumentParser(prog="python -m experiments bench clrs_compile")
    parser.add_argument("--alone", action="store_true", help="without dm-clrs")
    asked = parser.parse_args(argv or [])
    jax.config.update("jax_enable_compilation_cache", False)
    print(measure.surroundings(), flush=True)
    print("thirty tasks, CPU-seconds to trace and compile:")
    mine = ours()
    update = mine["initial state"] + mine["update"]
    print(f"initial state and update: {update:.1f}; with sampling: {sum(mine.values()):.1f}")
    if asked.alone:
        return
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "seconds.json"
        print("dm-clrs, CPU-seconds of (init, first step):", flush=True)
        without = {"JAX_ENABLE_COMPILATION_CACHE": "false"}
        peers.run("clrs", "clrs_compile.py", str(out), *NAMES, environment=without)
        theirs = sum(sum(pair) for pair in json.loads(out.read_text()).values())
    print(f"sum {theirs:.1f}; ours / theirs {update / theirs:.2f}, goal < 1", flush=True)


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
