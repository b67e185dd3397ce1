"""From named columns of some code to the table of cells: checks, cuts, names of species."""

import pathlib
import re

import numpy as np

from algorithmic.disks.table import Table
from fl_jax.core import errors

THINNEST, HOTTEST = 1e4, 1000.0  # hydrogen nuclei [cm^-3], dust [K]; cuts of the authors' notebook


def cells(
    source: str,
    columns: dict[str, np.ndarray],
    species: dict[str, np.ndarray],
    *,
    thinnest: float = THINNEST,
    hottest: float = HOTTEST,
    note: str = "",
) -> Table:
    """The table of the rows that pass the cuts.

    Args:
        source: what the rows come from, for messages and the data card.
        columns: by the names of `table.UNITS`, in its units; those that a source lacks are absent.
        species: abundance per hydrogen nucleus by name; what a solver left below 0 becomes 0.
        thinnest: rows of lower density are left out.
        hottest: rows of warmer dust are left out.
        note: what the data card should say besides.

    Raises:
        DataError: a column that is needed is missing, a value is not finite, or no row is left.
    """
    for name in ("disk", "radius", "height", "numberdens", "temperature"):
        if name not in columns:
            raise errors.DataError(f"{source} gives no {name}; every cell needs one.")
    if not species:
        raise errors.DataError(f"{source} holds no species; name columns of abundances.")
    columns = {
        k: np.asarray(v, np.int64 if k == "disk" else np.float64) for k, v in columns.items()
    }
    names = tuple(species)
    abundances = np.stack([np.asarray(species[s], np.float64) for s in names], axis=1)
    for name, values in (*columns.items(), *zip(names, abundances.T, strict=True)):
        bad = ~np.isfinite(values)
        if bad.any():
            raise errors.DataError(
                f"{source}: {name} is not finite in {int(bad.sum())} rows, the first is row"
                f" {int(bad.argmax())}; correct or remove them: nothing is put in their place."
            )
    keep = (columns["numberdens"] > thinnest) & (columns["temperature"] < hottest)
    if not keep.any():
        raise errors.DataError(
            f"{source}: none of {len(keep)} rows has n_H > {thinnest:g} cm^-3 and dust below"
            f" {hottest:g} K; check the units."
        )
    counts = {"asked": len(keep), "thin or hot": int((~keep).sum())}
    meta = {"source": source, "cells": counts, "rows": int(keep.sum()), "note": note}
    return Table(columns, names, np.maximum(abundances, 0.0), meta).select(keep)


def numbers(
    path: pathlib.Path, line: int, fields: list[str], wanted: int, *, more: bool = False
) -> list[float]:
    """Fields of a line as numbers; Fortran's D and its exponents without a letter are read too.

    Args:
        path: for messages.
        line: its number, for messages.
        fields: its text.
        wanted: how many there should be.
        more: whether there may be further ones.

    Raises:
        DataError: another number of fields, or one that is no number, with file and line.
    """
    if len(fields) < wanted or (len(fields) > wanted and not more):
        raise errors.DataError(
            f"{path.name}, line {line}: {wanted} fields were expected, {len(fields)} came."
        )
    try:
        return [_number(f) for f in fields]
    except ValueError as error:
        raise errors.DataError(f"{path.name}, line {line}: {error}.") from error


def _number(text: str) -> float:
    # Fortran writes 1.0D-5, and 1.234-101 where an exponent has three digits.
    return float(re.sub(r"(?<=[\d.])([+-]\d+)$", r"E\1", text.strip().upper().replace("D", "E")))


def text_of(path) -> tuple[pathlib.Path, list[str]]:
    """(path, its lines).

    Raises:
        DataError: there is no such file.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise errors.DataError(f"there is no file {path}; give the path of one.")
    return path, path.read_text().splitlines()
