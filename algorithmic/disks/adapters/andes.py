"""Folders of ANDES and ANDES2: pipe-delimited tables with a commented header, one set a time."""

import pathlib

import numpy as np

from algorithmic.disks.adapters import cells
from algorithmic.disks.constants import M_H, MU_H
from algorithmic.disks.radiation import DRAINE_PER_ANDES
from algorithmic.disks.table import UV_FLOOR, Table
from fl_jax.core import errors

PLACE = ("ir", "iz", "Radius", "Height", "Relative Height")
PHYSICS = ("Gas density", "Dust density", "Gas temperature", "Dust temperature")
FIRST = 3  # radial cells that the authors' notebook leaves out (ir > 3)


def read_andes(
    folder,
    index: int,
    *,
    disk: int = 0,
    uv: str | None = None,
    thinnest: float = cells.THINNEST,
    hottest: float = cells.HOTTEST,
) -> Table:
    """`Chemistry_NNNNN` with `physical_structure_NNNNN` and what there is on radiation.

    n_H = rho_gas/(1.4 m_H), the density of this package; species are densities in cm^-3. Ortho and
    para hydrogen, oH2 and pH2, are summed to H2 where the file has no H2. The ionisation rate is
    `IR_Total[1/s]` of `Ionization_Rate_NNNNN`. Where a file has the column ir, the cells of the
    first three radii are left out, as the authors' notebook does.

    Args:
        folder: of the files.
        index: NNNNN, the time.
        disk: number of the disk in the table.
        uv: the column of `RadInt_StrengthTotal_NNNNN` that is taken, in ANDES2's unit; its name
            differs between versions, so none is taken unless given.
        thinnest: see `cells.cells`.
        hottest: see `cells.cells`.

    Raises:
        DataError: a file or column is missing, files disagree, or a line is malformed.
    """
    folder = pathlib.Path(folder)
    chemistry = read_table(folder / f"Chemistry_{index:05d}")
    physics = dict(chemistry)
    structure = folder / f"physical_structure_{index:05d}"
    if structure.is_file():
        physics |= _same(read_table(structure), chemistry, structure.name)
    for name in ("Radius", "Height", "Gas density", "Dust temperature"):
        if name not in physics:
            raise errors.DataError(f"{folder}: the files of time {index} have no column {name}.")
    density = physics["Gas density"] / (MU_H * M_H)
    columns = {
        "disk": np.full(len(density), disk),
        "radius": physics["Radius"],
        "height": physics["Height"],
        "numberdens": density,
        "temperature": physics["Dust temperature"],
    }
    rate = folder / f"Ionization_Rate_{index:05d}"
    if rate.is_file():
        found = _same(read_table(rate), chemistry, rate.name)
        columns["ionization"] = _column(found, "IR_Total[1/s]", rate.name)
    if uv is not None:
        path = folder / f"RadInt_StrengthTotal_{index:05d}"
        found = _same(read_table(path), chemistry, path.name)
        field = _column(found, uv, path.name) * DRAINE_PER_ANDES
        columns["uv"] = np.maximum(field, UV_FLOOR)
    skip = (*PLACE, *PHYSICS)
    species = {
        s: x / density for s, x in chemistry.items() if s not in skip and not s.startswith("IR_")
    }
    if "H2" not in species and {"oH2", "pH2"} <= set(species):
        species["H2"] = species["oH2"] + species["pH2"]
    keep = physics.get("ir", np.full(len(density), np.inf)) > FIRST
    pick = lambda values: {k: v[keep] for k, v in values.items()}
    return cells.cells(
        f"{folder.name}, time {index}",
        pick(columns),
        pick(species),
        thinnest=thinnest,
        hottest=hottest,
        note=str(config(folder.parent / "config.ini")),
    )


def read_table(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Columns by name of one file.

    Raises:
        DataError: missing file, no header, or a malformed line.
    """
    path, lines = cells.text_of(path)
    if not lines or not lines[0].startswith("#"):
        raise errors.DataError(
            f"{path.name}, line 1: a header that begins with # was expected; this is no ANDES file."
        )
    names = _fields(lines[0][1:])
    rows = [
        cells.numbers(path, i, _fields(line), len(names))
        for i, line in enumerate(lines[1:], start=2)
        if line.strip() and not line.startswith("#")
    ]
    held = np.array(rows).reshape(len(rows), len(names))
    return dict(zip(names, held.T, strict=True))


def config(path: pathlib.Path) -> dict[str, str]:
    """The lines `value :: key` of config.ini by key; empty where there is no such file."""
    if not path.is_file():
        return {}
    pairs = (line.partition("::") for line in path.read_text().splitlines() if "::" in line)
    return {key.strip(): value.strip() for value, _, key in pairs}


def _fields(line: str) -> list[str]:
    return [f.strip() for f in line.strip().strip("|").split("|")]


def _column(found: dict, name: str, file: str) -> np.ndarray:
    if name not in found:
        raise errors.DataError(f"{file} has no column {name}, but {', '.join(found)}.")
    return found[name]


def _same(found: dict, other: dict, file: str) -> dict:
    if len(next(iter(found.values()))) != len(next(iter(other.values()))):
        raise errors.DataError(f"{file} has another number of cells than the chemistry file.")
    return found
