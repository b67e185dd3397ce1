"""`python -m experiments bench clrs`: sampling with hints, side by side with dm-clrs.

Both make the same number of samples of the same algorithm and size, hints included, each in a
process of its own; samples per process CPU-second, so that other work on the machine does not
count; compilation apart. What both compute is held equal by the oracle test
(`tests/algorithmic/clrs/test_trajectory.py`).
"""

import json
import subprocess
import sys
import time

from experiments.bench import peers

SIZES = ((16, 1024), (64, 64))  # (n, batch of ours)
PEER_SECONDS = 2.0  # CPU-seconds that the peer samples for, at least one sample

PEER = """
import json, sys, time
from clrs._src import samplers, specs
name, n, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
sampler, spec = samplers.build_sampler(name, seed=1, num_samples=1, length=n)
sampler._make_batch(1, spec, 0, sampler._algorithm, *sampler._args, **sampler._kwargs)
done, start = 0, time.process_time()
while time.process_time() - start < seconds:
    batch = 1 if n > 16 else 8
    sampler._make_batch(batch, spec, 0, sampler._algorithm, *sampler._args, **sampler._kwargs)
    done += batch
print(json.dumps(done / (time.process_time() - start)))
"""


def ours(name: str, n: int, batch: int) -> tuple[float, float]:
    """(samples per CPU-second, CPU-seconds of the first call, which compiles)."""
    import jax

    from algorithmic import clrs

    start = time.process_time()
    jax.block_until_ready(clrs.sample(name, jax.random.key(0), batch, n))
    first = time.process_time() - start
    times = []
    for i in range(1, 6):
        start = time.process_time()
        jax.block_until_ready(clrs.sample(name, jax.random.key(i), batch, n))
        times.append(time.process_time() - start)
    return batch / sorted(times)[len(times) // 2], first


def peer(name: str, n: int) -> float:
    """Samples of dm-clrs per CPU-second."""
    command = [peers.python("clrs"), "-c", PEER, name, str(n), str(PEER_SECONDS)]
    return json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


def main(names: list[str] | None = None) -> None:
    """Prints one line per algorithm and size, and the geometric means."""
    import math

    from algorithmic.clrs import ALGORITHMS

    print("dm-clrs 2.0.3; samples with hints per CPU-second")
    for n, batch in SIZES:
        ratios = []
        print(f"{'algorithm':32}{'n':>4}{'ours':>12}{'dm-clrs':>10}{'ratio':>8}{'compile s':>11}")
        for name in names or ALGORITHMS:
            mine, first = ours(name, n, batch)
            theirs = peer(name, n)
            ratios.append(mine / theirs)
            row = f"{mine:12,.0f}{theirs:10,.1f}{ratios[-1]:8.1f}{first:11.1f}"
            print(f"{name:32}{n:4}{row}", flush=True)
        mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
        print(f"n = {n}: geometric mean {mean:.1f}, least {min(ratios):.1f}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or None)
