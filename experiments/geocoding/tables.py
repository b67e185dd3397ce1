"""Files of texts, read and written with columns added: CSV, TSV, JSONL, Parquet."""

import csv
import json
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from fl_jax.core import atomic, errors

KINDS = (".csv", ".tsv", ".jsonl", ".parquet")


class Table(NamedTuple):
    """The rows of a file."""

    rows: list[dict[str, Any]]
    arrow: Any = None  # of Parquet: the file as it is, with types that Python does not have


def kind(path: pathlib.Path) -> str:
    """The format that a file's ending says.

    Raises:
        ConfigError: another one.
    """
    return errors.one_of("kind of file", path.suffix.lower(), KINDS)


def read(path: pathlib.Path, column: str) -> Table:
    """The rows of a file of texts. A blank line is a blank text where there is one column.

    Raises:
        DataError: it cannot be read, has no rows or no such column, two columns of one name, or a
            row with more fields than there are columns.
    """
    if not path.is_file():
        raise errors.DataError(f"{path} is not there.")
    own = kind(path)
    try:
        if own == ".parquet":
            found = _parquet(path)
        elif own == ".jsonl":
            lines = path.read_text("utf-8-sig").split("\n")  # splitlines cuts at U+2028 as well
            found = Table([json.loads(line) for line in lines if line.strip()])
        else:
            found = Table(_separated(path, "\t" if own == ".tsv" else ","))
    except (errors.ConfigError, errors.DataError):
        raise
    except UnicodeDecodeError as error:
        raise errors.DataError(f"{path} is not UTF-8 ({error}); convert it first.") from None
    except (ValueError, OSError, RecursionError) as error:
        raise errors.DataError(f"{path} cannot be read as {own}: {str(error)[:120]}.") from None
    rows = found.rows
    if not rows:
        raise errors.DataError(f"{path} has no rows.")
    bad = next((n for n, r in enumerate(rows) if not isinstance(r, dict) or column not in r), None)
    if bad is not None:
        there = ", ".join(map(repr, rows[bad])) if isinstance(rows[bad], dict) else "no columns"
        raise errors.DataError(
            f"row {bad + 1} of {path} has no column {column!r} but {there[:200]}; give --column."
        )
    for row in rows:
        if isinstance(row[column], bytes):  # Parquet without the mark that they are text
            row[column] = row[column].decode("utf-8", "surrogateescape")
    return found


def write(path: pathlib.Path, table: Table, added: Sequence[dict[str, Any]]) -> None:
    """Writes a table with columns added, in the format of the file's ending, whole or not at all.

    Args:
        path: where; what is there is replaced once the new file is whole.
        table: what `read` found.
        added: for each row, values of columns that no row has.
    """
    with atomic.replace(path) as fresh:
        # Halves of characters become \\ud83d and the like, as JSON writes them.
        if kind(path) == ".parquet":
            _write_parquet(fresh, table, added)
        else:
            rows = [{**row, **more} for row, more in zip(table.rows, added, strict=True)]
            with fresh.open("w", encoding="utf-8", newline="", errors="backslashreplace") as file:
                if kind(path) == ".jsonl":
                    file.writelines(_json(row) + "\n" for row in rows)
                else:
                    _write_separated(file, rows, "\t" if kind(path) == ".tsv" else ",")


def beside(taken: set[str], added: dict[str, Any]) -> dict[str, Any]:
    """Columns under names that the file does not have: what it holds is never written over."""
    prefix = ""
    while taken & {prefix + n for n in added if prefix or n in taken}:
        prefix += "geocoded_"
    return {prefix + n if n in taken else n: v for n, v in added.items()}


def arrow():
    """pyarrow.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError:
        raise errors.ConfigError("Parquet needs pyarrow: pip install pyarrow.") from None
    return pyarrow


def _separated(path, sign) -> list[dict]:
    limit = csv.field_size_limit(2**31 - 1)  # a text may be long
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:  # Excel begins with a BOM
            # Strict, or a quote that nothing ends takes all rows behind it into its field.
            lines = csv.reader(file, delimiter=sign, strict=True)
            names = next(lines, [])
            _apart(path, names)
            rows = []
            try:
                for cells in lines:
                    if not cells and len(names) != 1:  # a blank line
                        continue
                    if len(cells) > len(names):
                        raise errors.DataError(
                            f"row {len(rows) + 1} of {path} has more fields than there are"
                            " columns; quote what holds the sign between them."
                        )
                    missing = [None if cells else ""] * (len(names) - len(cells))
                    rows.append(dict(zip(names, cells + missing, strict=True)))
            except csv.Error as error:
                raise errors.DataError(
                    f"row {len(rows) + 1} of {path} cannot be read ({error}); a field that begins"
                    " with a quote must end with one, and quotes within it are doubled."
                ) from None
            return rows
    finally:
        csv.field_size_limit(limit)


def _write_separated(file, rows, sign):
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.writer(file, delimiter=sign)
    writer.writerow(names)
    writer.writerows([_cell(row.get(name)) for name in names] for row in rows)


def _cell(value):
    """A value as a cell: lists and objects as JSON."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return _json(value) if isinstance(value, (list, tuple, dict)) else value


def _json(value) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _apart(path, names):
    twice = next((n for n in names if names.count(n) > 1), None)
    if twice is not None:
        raise errors.DataError(f"{path} has two columns {twice!r}; name them apart.")


def _parquet(path) -> Table:
    pyarrow = arrow()
    with pyarrow.parquet.ParquetFile(path) as file:
        whole = file.read()
    _apart(path, whole.column_names)
    columns = {}
    for name in whole.column_names:
        values = whole[name]
        if getattr(values.type, "unit", "") == "ns":  # Python counts microseconds
            values = values.cast(pyarrow.int64() if "duration" in str(values.type) else "string")
        columns[name] = values.to_pylist()
    rows = zip(*columns.values(), strict=True)
    return Table([dict(zip(columns, row, strict=True)) for row in rows], whole)


def _write_parquet(path, table: Table, added):
    pyarrow = arrow()
    names = lambda rows: list(dict.fromkeys(name for row in rows for name in row))
    filled = lambda rows: {n: _column(pyarrow, [r.get(n) for r in rows]) for n in names(rows)}
    whole = pyarrow.table(filled(table.rows)) if table.arrow is None else table.arrow
    for name, values in filled(added).items():
        whole = whole.append_column(name, values)
    pyarrow.parquet.write_table(whole, path)


def _column(pyarrow, values: list):
    """Values as a column; those of several kinds as text."""
    whole = lambda v: v.encode(errors="backslashreplace").decode() if isinstance(v, str) else v
    values = [whole(v) for v in values]
    try:
        return pyarrow.array(values)
    except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError, OverflowError):
        return pyarrow.array([v if v is None or isinstance(v, str) else _json(v) for v in values])
