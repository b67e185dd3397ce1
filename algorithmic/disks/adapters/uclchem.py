"""UCLCHEM's full output: one cell over time, abundances per hydrogen nucleus."""

from collections.abc import Sequence

import numpy as np

from algorithmic.disks import constants as c
from algorithmic.disks import species as names_of
from algorithmic.disks.adapters import cells
from algorithmic.disks.table import UV_FLOOR, Table
from fl_jax.core import errors

HABING_PER_DRAINE = 1.7  # radfield is in Habing units
CONDITIONS = ("Time", "Density", "gasTemp", "dustTemp", "av", "radfield", "zeta", "dstep",
              "point", "baseAv")  # fmt: skip


def read_uclchem(
    paths: Sequence,
    *,
    years: float | None = None,
    thinnest: float = cells.THINNEST,
    hottest: float = cells.HOTTEST,
) -> Table:
    """One row a file, at one time: models of single cells become rows of a table.

    Conditions: density of hydrogen nuclei [cm^-3], temperature of the dust where the file has it
    (older versions have one temperature), Av [mag], radfield [Habing] dimmed by exp(-3.02 A_V) and
    given in Draine units, zeta in units of 1.3e-17 1/s. A cell has no place in a disk: radius and
    height are its number and 0.

    Args:
        paths: output files, comma-separated with a header, each a disk of its own.
        years: the time that is taken, the nearest of each file; its last unless given.
        thinnest: see `cells.cells`.
        hottest: see `cells.cells`.

    Raises:
        DataError: files of different species, or a malformed line.
    """
    if not paths:
        raise errors.ConfigError("no UCLCHEM file came; give at least one path.")
    found, names = [], None
    for number, path in enumerate(paths):
        row = _at(path, years)
        mine = tuple(k for k in row if k not in {name.lower() for name in CONDITIONS})
        if names is not None and mine != names:
            raise errors.DataError(f"{path} has other species than {paths[0]}.")
        names = mine
        found.append(row)
        row["number"] = float(number)
    take = lambda name: np.array([row[name] for row in found])
    warm = "dusttemp" if "dusttemp" in found[0] else "gastemp"
    av = take("av")
    columns = {
        "disk": take("number"),
        "radius": take("number") + 1,
        "height": np.zeros(len(found)),
        "numberdens": take("density"),
        "temperature": take(warm),
        "uv": np.maximum(take("radfield") / HABING_PER_DRAINE * np.exp(-3.02 * av), UV_FLOOR),
        "ionization": take("zeta") * c.ZETA0,
        "av_up": av,
    }
    species = {names_of.from_upper(name): take(name) for name in names or ()}
    return cells.cells(
        "UCLCHEM", columns, species, thinnest=thinnest, hottest=hottest,
        note="single cells: radius and height are not those of a disk",
    )  # fmt: skip


def _at(path, years: float | None) -> dict[str, float]:
    """One row of a file by column; names of conditions in lower case, of species as they stand."""
    path, lines = cells.text_of(path)
    numbered = [(i, s) for i, s in enumerate(lines, 1) if s.strip() and not s.startswith("#")]
    if len(numbered) < 2:
        raise errors.DataError(f"{path.name}: a header and at least one time were expected.")
    known = {name.lower() for name in CONDITIONS}
    names = [n.strip() for n in numbered[0][1].split(",")]
    names = [n.lower() if n.lower() in known else n for n in names]
    for name in ("time", "density", "gastemp", "av", "radfield", "zeta"):
        if name not in names:
            raise errors.DataError(f"{path.name}: the header has no {name}.")
    rows = np.array(
        [cells.numbers(path, i, s.rstrip(",").split(","), len(names)) for i, s in numbered[1:]]
    )
    time = rows[:, names.index("time")]
    row = rows[-1 if years is None else int(np.abs(time - years).argmin())]
    return dict(zip(names, row.tolist(), strict=True))
