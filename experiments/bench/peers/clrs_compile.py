"""dm-clrs's side of `bench clrs_compile`; run by dm-clrs's own interpreter.

    python clrs_compile.py OUT.json ALGORITHM...

OUT gets, per algorithm, the CPU-seconds of the eager initialisation and of the first step, which
compiles, one algorithm after another in one process: what JAX keeps from one serves the next.
"""

import json
import sys

from clrs_step import build, train


def main(out: str, names: list[str]) -> None:
    found = {}
    for name in names:
        _, feedback, model, init = build(name)
        _, times = train(model, feedback, 1)
        found[name] = (init, times[0][0])
        print(name, found[name], flush=True)
    with open(out, "w") as file:
        json.dump(found, file)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
