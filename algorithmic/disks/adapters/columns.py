"""Any table in text, its columns named by the user: DALI, whose output has no public layout."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from algorithmic.disks.adapters import cells
from algorithmic.disks.table import UNITS, Table
from fl_jax.core import errors


@dataclasses.dataclass(frozen=True)
class Column:
    """Where a quantity stands and what it is multiplied by to come to the table's unit."""

    name: str
    factor: float = 1.0


def read_columns(
    path,
    columns: Mapping[str, str | Column],
    species: Mapping[str, str | Column],
    *,
    per_nucleus: bool = True,
    delimiter: str | None = None,
    disk: int = 0,
    thinnest: float = cells.THINNEST,
    hottest: float = cells.HOTTEST,
) -> Table:
    """The rows of a text file with one line of column names.

    DALI writes what its user's scripts ask for; nothing is assumed about names or units: both are
    given here.

    Args:
        path: the file; a leading "#" of the first line is ignored.
        columns: quantity of `table.UNITS` to column, e.g. {"numberdens": Column("n_gas", 2.0)}.
        species: species to column.
        per_nucleus: abundances as they stand; False divides densities [cm^-3] by `numberdens`.
        delimiter: between fields; white space unless given.
        disk: number of the disk, where no column gives it.
        thinnest: see `cells.cells`.
        hottest: see `cells.cells`.

    Raises:
        ConfigError: an unknown quantity or column.
        DataError: a line with another number of fields, a field that is no number, or a column
            that is there twice.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "dali.dat"
        >>> _ = path.write_text("r z n_gas T_dust CO\\n10 1 1e8 30 1e-4\\n")
        >>> found = read_columns(
        ...     path,
        ...     {"radius": "r", "height": "z", "numberdens": "n_gas", "temperature": "T_dust"},
        ...     {"CO": "CO"},
        ... )
        >>> found.species, float(found.columns["radius"][0])
        (('CO',), 10.0)
    """
    path, lines = cells.text_of(path)
    if not lines:
        raise errors.DataError(f"{path.name} is empty; a line of column names was expected.")
    names = [n.strip() for n in lines[0].lstrip("# ").split(delimiter)]
    rows = [
        cells.numbers(path, i, line.split(delimiter), len(names))
        for i, line in enumerate(lines[1:], start=2)
        if line.strip() and not line.startswith("#")
    ]
    held = np.array(rows).reshape(len(rows), len(names))

    def take(column: str | Column) -> np.ndarray:
        column = Column(column) if isinstance(column, str) else column
        errors.one_of(f"column of {path.name}", column.name, names)
        if names.count(column.name) > 1:
            raise errors.DataError(
                f"{path.name} has {names.count(column.name)} columns {column.name}; rename them."
            )
        return held[:, names.index(column.name)] * column.factor

    for quantity in columns:
        errors.one_of("quantity", quantity, UNITS)
    found = {quantity: take(column) for quantity, column in columns.items()}
    found.setdefault("disk", np.full(len(rows), disk))
    amounts = {s: take(column) for s, column in species.items()}
    if not per_nucleus:
        amounts = {s: x / found["numberdens"] for s, x in amounts.items()}
    return cells.cells(path.name, found, amounts, thinnest=thinnest, hottest=hottest)
