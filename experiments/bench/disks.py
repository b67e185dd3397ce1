"""`python -m experiments bench disks`: neighbours and chemistry beside their peers.

Neighbours: `disks_neighbors`. Chemistry: `disks_chemistry`, which needs the data folder and is left
out, with a word, where there is none.
"""

import json

from experiments.bench import disks_chemistry, disks_neighbors, measure
from fl_jax.data import sources


def main() -> None:
    """Prints the tables."""
    print(json.dumps(measure.surroundings()), flush=True)
    disks_neighbors.main()
    folder = sources.folder("astrochem")
    if folder is None:
        print(
            "chemistry: NOT measured. FL_JAX_DATA has no folder astrochem, so there is no RATE22;"
            " a ratio on 33 hand-typed reactions would say nothing about it."
        )
        return
    disks_chemistry.run(folder)
