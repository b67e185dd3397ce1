"""Writes golden.json with dm-clrs, or the whole trajectories for the oracle test.

    PEER/bin/python tests/algorithmic/clrs/make_golden.py > tests/algorithmic/clrs/golden.json
    PEER/bin/python tests/algorithmic/clrs/make_golden.py --full FILE.npz --sizes 4 16 64 --seeds 8

PEER is an environment with `experiments/bench/peers/clrs.txt` installed (dm-clrs 2.0.3). The
file is run by its path: it needs neither this package nor JAX.
"""

import argparse
import json
import sys

import numpy as np
import reference_inputs

SIZES, SEEDS = (4, 5, 7, 11, 16, 64), (4, 4, 4, 4, 4, 1)


def run(name, inputs):
    """Hints, outputs and inputs of one run of dm-clrs, as it stores them."""
    from clrs._src import algorithms, probing, specs

    given = dict(inputs)
    if "string" in given:
        split = int(np.sum(given["string"] == 0))
        args = [given["key"][:split], given["key"][split:]]
    elif name == "optimal_bst":
        args = [given["p"][:-1], given["q"]]
    elif name == "binary_search":
        args = [given["target"], given["key"]]
    else:
        args = list(given.values())
    _, probes = getattr(algorithms, name)(*[np.copy(a) if np.ndim(a) else a for a in args])
    stages = probing.split_stages(probes, specs.SPECS[name])
    return [{p.name: np.asarray(p.data) for p in stage} for stage in stages]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--full")
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES)
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--names", nargs="*")
    asked = parser.parse_args()
    from clrs._src import specs

    golden, full = {}, {}
    for name in asked.names or specs.CLRS_30_ALGS:
        for n, seeds in zip(
            asked.sizes, [asked.seeds] * 99 if asked.seeds else SEEDS, strict=False
        ):
            if name == "segments_intersect" and n != 4:
                continue
            for seed in range(seeds):
                inputs, outputs, hints = run(name, reference_inputs.inputs(name, n, seed))
                hints = {k: v[:, 0] for k, v in hints.items()}
                values = {f"hint {k}": v for k, v in hints.items()}
                values |= {f"output {k}": v[0] for k, v in outputs.items()}
                values |= {f"input {k}": v[0] for k, v in inputs.items()}
                length = len(next(iter(hints.values())))
                full |= {f"{name} {n} {seed} {k}": v for k, v in values.items()}
                sums = {k: round(reference_inputs.checksum(v), 9) for k, v in values.items()}
                golden.setdefault(name, {})[f"{n} {seed}"] = {"length": length, **sums}
        print(name, file=sys.stderr, flush=True)
    if asked.full:
        np.savez_compressed(asked.full, **full)
    else:
        print("{")
        lines = [f"{json.dumps(k)}: {json.dumps(v)}" for k, v in golden.items()]
        print(",\n".join(lines))
        print("}")


if __name__ == "__main__":
    main()
