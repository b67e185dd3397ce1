"""dm-clrs's side of `bench clrs`; run by dm-clrs's own interpreter.

    python clrs_samples.py OUT.json NODES SECONDS ALGORITHM...

OUT gets, per algorithm, samples with hints per CPU-second: samples are drawn for SECONDS of CPU
time, at least one. All algorithms in one process, because the import alone takes ten seconds.
"""

import json
import sys
import time

from clrs._src import samplers


def rate(name: str, nodes: int, seconds: float) -> float:
    """Samples per CPU-second."""
    sampler, spec = samplers.build_sampler(name, seed=1, num_samples=1, length=nodes)
    make = lambda count: sampler._make_batch(
        count, spec, 0, sampler._algorithm, *sampler._args, **sampler._kwargs
    )
    batch = 1 if nodes > 16 else 8
    done, start = 0, time.process_time()
    while not done or time.process_time() - start < seconds:
        make(batch)
        done += batch
    return done / (time.process_time() - start)


def main(out: str, nodes: int, seconds: float, names: list[str]) -> None:
    with open(out, "w") as file:
        json.dump({name: rate(name, nodes, seconds) for name in names}, file)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4:])
