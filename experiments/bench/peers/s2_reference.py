"""S2 ids and digit paths by s2geometry; runs in the environment of that peer.

`python s2_reference.py FOLDER LEVEL` reads `points.npz` (`lat`, `lon`) and writes `cells.npz`:
`ids` (uint64 leaf cells), `paths` (n, LEVEL + 1), and the seconds that each took.
"""

import pathlib
import sys
import time

import numpy as np
import s2geometry as s2


def main(folder: pathlib.Path, level: int) -> None:
    """Reads the points, writes the cells."""
    with np.load(folder / "points.npz") as given:
        lat, lon = given["lat"].tolist(), given["lon"].tolist()
    start = time.process_time()
    cells = [s2.S2CellId(s2.S2LatLng.FromDegrees(a, b)) for a, b in zip(lat, lon, strict=True)]
    ids = np.array([cell.id() for cell in cells], np.uint64)
    to_ids = time.process_time() - start
    start = time.process_time()
    paths = []
    for a, b in zip(lat, lon, strict=True):
        cell = s2.S2CellId(s2.S2LatLng.FromDegrees(a, b)).parent(level)
        paths.append([cell.face(), *(cell.child_position(n) for n in range(1, level + 1))])
    to_paths = time.process_time() - start
    seconds = np.array([to_ids, to_paths])
    np.savez(folder / "cells.npz", ids=ids, paths=np.array(paths, np.uint8), seconds=seconds)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), int(sys.argv[2]))
