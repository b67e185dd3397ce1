"""The SQLite file of the authors' notebook: one table `chemistry`, densities in cm^-3."""

import contextlib
import pathlib
import sqlite3

import numpy as np

from algorithmic.disks.adapters import cells
from algorithmic.disks.radiation import DRAINE_PER_ANDES
from algorithmic.disks.table import UV_FLOOR, Table
from fl_jax.core import errors

# Columns that are no species. Units in brackets behind a name are ignored in matching.
KNOWN = (
    "Gas Number Density", "<H>", "Gas temperature", "Dust temperature", "Gas density",
    "Dust density", "Radius", "Height", "Relative Height", "AV_true", "G_UV", "AV_from_Gfactor",
    "radiation_strength", "IR_XR", "IR_CR", "IR_Total", "Disk ID", "ir", "iz", "index",
)  # fmt: skip


def read_notebook(
    path, *, thinnest: float = cells.THINNEST, hottest: float = cells.HOTTEST
) -> Table:
    """The table `chemistry` with the notebook's columns.

    Conventions: `Gas Number Density` (else `<H>`) counts hydrogen nuclei; the temperature is the
    dust's; G_UV comes in ANDES2's unit, chi = 0.5604 G_UV; IR_Total is cosmic rays and X-rays.

    Args:
        path: the file.
        thinnest: see `cells.cells`.
        hottest: see `cells.cells`.

    Raises:
        DataError: no such file, table, row or column.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise errors.DataError(f"there is no file {path}; give the path of one.")
    try:
        # Read only: a missing file is not made.
        with contextlib.closing(
            sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        ) as base:
            cursor = base.execute("SELECT * FROM chemistry")
            names = [_plain(entry[0]) for entry in cursor.description]
            rows = cursor.fetchall()
    except sqlite3.DatabaseError as error:
        raise errors.DataError(f"{path.name} has no table chemistry: {error}.") from error
    if not rows:
        raise errors.DataError(f"the table chemistry of {path.name} has no row; fill it.")
    held = dict(zip(names, zip(*rows, strict=True), strict=True))
    return from_columns(path.name, held, thinnest=thinnest, hottest=hottest)


def from_columns(source: str, held: dict, *, thinnest: float, hottest: float) -> Table:
    """The table from columns of these names; see `read_notebook`.

    Args:
        source: for messages.
        held: values by name.
        thinnest: see `cells.cells`.
        hottest: see `cells.cells`.
    """

    def take(*choices) -> np.ndarray:
        for name in choices:
            if name in held:
                # None, SQL's NULL, becomes NaN and is refused with its row.
                return np.array(held[name], np.float64)
        raise errors.DataError(f"{source} has no column {' or '.join(choices)}.")

    density = take("Gas Number Density", "<H>")
    columns = {
        "disk": _disks(held.get("Disk ID"), len(density)),
        "radius": take("Radius"),
        "height": take("Height"),
        "numberdens": density,
        "temperature": take("Dust temperature"),
    }
    if "G_UV" in held:
        columns["uv"] = np.maximum(take("G_UV") * DRAINE_PER_ANDES, UV_FLOOR)
    if "IR_Total" in held:
        columns["ionization"] = take("IR_Total")
    if "AV_true" in held:
        columns["av_up"] = take("AV_true")
    species = {s: take(s) / density for s in held if s not in KNOWN}
    return cells.cells(source, columns, species, thinnest=thinnest, hottest=hottest)


def _plain(name: str) -> str:
    return name.partition("[")[0].strip()


def _disks(values, count: int) -> np.ndarray:
    """Numbers of the disks from any labels, in the order of the labels."""
    if values is None:
        return np.zeros(count, np.int64)
    return np.unique(np.array([str(v) for v in values]), return_inverse=True)[1]
