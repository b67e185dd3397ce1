"""`python -m experiments bench clrs`: sampling with hints, side by side with dm-clrs.

    python -m experiments bench clrs                     thirty algorithms at n = 16 and at 64
    python -m experiments bench clrs --nodes 64          one size, half the time
    python -m experiments bench clrs --tasks bfs dfs     some algorithms

Both make samples of the same algorithm and size, hints included; samples per process CPU-second,
so that other work on the machine does not count; compilation apart. Both processes keep the memory
that they freed, which spares the kernel's zeroing of pages. What both compute is held
equal by the oracle test (`tests/algorithmic/clrs/test_trajectory.py`).
"""

import argparse
import json
import math
import pathlib
import tempfile
import time

from experiments.bench import measure, peers

BATCHES = {16: 1024, 64: 64}  # n -> batch of ours
GOALS = {16: 10, 64: 20}  # n -> at 16 each ratio, at 64 their geometric mean
COLUMNS = ("algorithm", "ours", "dm-clrs 2.0.3", "ratio", "first call, CPU-s")
REPEATS = 5
PEER_SECONDS = 1.5  # CPU-seconds that the peer samples for, at least one sample


def ours(name: str, n: int, batch: int) -> tuple[float, float]:
    """(samples per CPU-second, CPU-seconds of the first call, which compiles)."""
    import jax

    from algorithmic import clrs

    start = time.process_time()
    jax.block_until_ready(clrs.sample(name, jax.random.key(0), batch, n))
    first = time.process_time() - start
    times = []
    for i in range(1, REPEATS + 1):
        start = time.process_time()
        jax.block_until_ready(clrs.sample(name, jax.random.key(i), batch, n))
        times.append(time.process_time() - start)
    return batch / measure.median(times), first


def theirs(names: list[str], n: int) -> dict[str, float]:
    """dm-clrs's samples per CPU-second."""
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "rates.json"
        given = (str(out), str(n), str(PEER_SECONDS), *names)
        peers.run("clrs", "clrs_samples.py", *given, environment=peers.MALLOC)
        return json.loads(out.read_text())


def main(argv: list[str] | None = None) -> None:
    """Prints a table row per algorithm and size, and the geometric means."""
    import jax

    from algorithmic.clrs import ALGORITHMS

    parser = argparse.ArgumentParser(prog="python -m experiments bench clrs")
    parser.add_argument("--nodes", type=int, choices=list(BATCHES), help="one size; default: both")
    parser.add_argument("--tasks", nargs="+", choices=ALGORITHMS, default=list(ALGORITHMS))
    asked = parser.parse_args(argv or [])
    jax.config.update("jax_enable_compilation_cache", False)  # else it would be read, not made
    print(measure.surroundings(), flush=True)
    for n in (asked.nodes,) if asked.nodes else BATCHES:
        peer = theirs(asked.tasks, n)
        ratios = {}
        print(f"\nsamples per CPU-second, n = {n}, batch {BATCHES[n]}\n")
        print(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|")
        for name in asked.tasks:
            mine, first = ours(name, n, BATCHES[n])
            ratios[name] = mine / peer[name]
            row = f"{mine:,.0f} | {peer[name]:,.1f} | {ratios[name]:,.1f} | {first:.1f}"
            print(f"| {name} | {row} |", flush=True)
        mean = math.exp(sum(map(math.log, ratios.values())) / len(ratios))
        least = min(ratios, key=ratios.get)
        goal = "each" if n == 16 else "the geometric mean"
        print(f"\ngeometric mean {mean:.1f}, least {ratios[least]:.1f} ({least});", end=" ")
        print(f"goal: {goal} >= {GOALS[n]}", flush=True)


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
