"""`ProDiMo.out`, the grid that ProDiMo writes; its layout as prodimopy reads it."""

import numpy as np

from algorithmic.disks.adapters import cells
from algorithmic.disks.table import UV_FLOOR, Table
from fl_jax.core import errors

SIZES, TITLES = 21, 23  # lines, from 0, of the grid's sizes and of the columns' names
FIXED = 21  # columns before heating and cooling rates
WIDTH, BEFORE = 13, 233  # characters of a column's name, and of those of the fixed columns


def read_prodimo(
    path, *, disk: int = 0, thinnest: float = cells.THINNEST, hottest: float = cells.HOTTEST
) -> Table:
    """Cells of one model: n_<H>, dust temperature, chi, ionisation, extinctions, columns, species.

    chi is in Draine units; ionisation is the sum of X-rays, cosmic rays and, where the file has
    them, stellar energetic particles; species are densities in cm^-3.

    Args:
        path: ProDiMo.out.
        disk: number of the disk in the table.
        thinnest: see `cells.cells`.
        hottest: see `cells.cells`.

    Raises:
        DataError: a malformed line or a header that does not fit its own sizes.
    """
    path, lines = cells.text_of(path)
    if len(lines) <= TITLES:
        raise errors.DataError(f"{path.name} has {len(lines)} lines; {TITLES + 1} are the header.")
    fields = lines[SIZES].split()
    try:
        nx, nz, count, heat, cool, waves = (int(f) for f in fields[1:7])
    except ValueError as error:
        raise errors.DataError(
            f"{path.name}, line {SIZES + 1}: NX, NZ, NSP, NHEAT, NCOOL and NLAM were expected,"
            f" {lines[SIZES].strip()!r} came."
        ) from error
    count += 1  # the electron
    start = BEFORE + WIDTH * (heat + cool + 1)
    names = lines[TITLES][start : start + WIDTH * count].split()
    if len(names) != count:
        raise errors.DataError(
            f"{path.name}, line {TITLES + 1}: {count} species were expected, {len(names)} came."
        )
    density_at = FIXED + heat + cool
    after = density_at + 1 + count + waves
    body = lines[TITLES + 1 : TITLES + 1 + nx * nz]
    if len(body) < nx * nz:
        raise errors.DataError(f"{path.name}: {nx} x {nz} cells were expected, {len(body)} came.")
    width = after + 17
    rows = [
        cells.numbers(path, i, line.split(), width, more=True)
        for i, line in enumerate(body, start=TITLES + 2)
    ]
    held = np.array([row[:width] for row in rows])
    energetic = np.array([row[width] if len(row) > width else 0.0 for row in rows])
    density = held[:, density_at]
    columns = {
        "disk": np.full(len(held), disk),
        "radius": held[:, 2],
        "height": held[:, 3],
        "numberdens": density,
        "temperature": held[:, 10],
        "uv": np.maximum(held[:, 15], UV_FLOOR),
        "ionization": held[:, after + 9] + held[:, after + 16] + energetic,
        "av_up": held[:, 7],
        "av_star": held[:, 6],
        "column_up": held[:, 5],
        "column_star": held[:, 4],
    }
    species = {s: held[:, density_at + 1 + i] / density for i, s in enumerate(names)}
    return cells.cells(path.name, columns, species, thinnest=thinnest, hottest=hottest)
