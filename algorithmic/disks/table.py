"""The table of cells: one row a cell, the schema that populations and adapters share.

Conventions, end to end: densities count hydrogen nuclei, n_H = rho/(1.4 m_H); abundances are per
hydrogen nucleus; `uv` is the dust-attenuated field in Draine units; `ionization` is the sum of
cosmic rays and X-rays per second.
"""

import dataclasses
import json
import pathlib
import re
import zipfile
import zlib

import numpy as np

from fl_jax.core import atomic, errors

UNITS = {
    "disk": "",
    "radius": "au",
    "height": "au",
    "numberdens": "cm^-3",
    "temperature": "K",
    "uv": "Draine",
    "ionization": "s^-1",
    "av_up": "mag",
    "av_star": "mag",
    "column_up": "cm^-2",
    "column_star": "cm^-2",
}
FEATURES = ("numberdens", "temperature", "uv", "ionization")  # of the paper, taken as log10
FLOOR = 1e-20  # abundances below it are not told apart: the integrator's absolute tolerance
UV_FLOOR = 1e-30  # of log10 uv, as the authors' notebook clips G_UV
VERSION = 1


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
    """Rows of cells."""

    columns: dict[str, np.ndarray]  # by name of UNITS, each (rows,); "disk" is int
    species: tuple[str, ...]
    abundances: np.ndarray  # (rows, N) float64, n_s/n_H; NaN where a source lacks the species
    meta: dict  # the data card: JSON values

    def __len__(self) -> int:
        return len(self.abundances)

    def select(self, rows) -> "Table":
        """Some of the rows."""
        picked = {k: v[rows] for k, v in self.columns.items()}
        return dataclasses.replace(self, columns=picked, abundances=self.abundances[rows])

    def features(self, names=FEATURES) -> np.ndarray:
        """(rows, len(names)) float64: log10 of the columns; ratios such as "z/r" as they are.

        Raises:
            DataError: a column is missing, not finite or not positive.
        """
        out = []
        for name in names:
            if name == "z/r":
                values = self.columns["height"] / self.columns["radius"]
            else:
                errors.one_of("feature", name, self.columns)
                values = self.columns[name]
                floor = {"uv": UV_FLOOR, "av_up": 1e-12, "av_star": 1e-12}.get(name, 0.0)
                floor = {"column_up": 1.0, "column_star": 1.0}.get(name, floor)
                values = np.maximum(values, floor) if floor else values
                if not (values > 0).all():
                    raise errors.DataError(
                        f"the feature {name} should be above 0 in every row, but"
                        f" {int((~(values > 0)).sum())} rows are not; remove or correct them."
                    )
                values = np.log10(values)
            if not np.isfinite(values).all():
                raise errors.DataError(
                    f"the feature {name} is not finite in {int((~np.isfinite(values)).sum())}"
                    " rows; remove them: nothing is put in their place."
                )
            out.append(values)
        return np.stack(out, axis=1).astype(np.float64)

    def targets(self, names) -> np.ndarray:
        """(rows, len(names)): log10 of the abundances, at least log10 `FLOOR`.

        Raises:
            ConfigError: an unknown species.
            DataError: a row without a value.
        """
        for name in names:
            errors.one_of("species", name, self.species)
        values = self.abundances[:, [self.species.index(n) for n in names]]
        if not np.isfinite(values).all():
            raise errors.DataError(
                f"{int((~np.isfinite(values)).any(axis=1).sum())} rows have no abundance of one of"
                f" {', '.join(names)}; take other species or remove the rows."
            )
        return np.log10(np.maximum(values, FLOOR))

    def save(self, path) -> None:
        """A .npz without pickle: columns, abundances, and a JSON header with units."""
        header = {
            "version": VERSION,
            "species": self.species,
            "units": {k: UNITS.get(k, "") for k in self.columns},
            "meta": self.meta,
        }
        arrays = {f"column/{k}": v for k, v in self.columns.items()}
        write_npz(path, header, abundances=self.abundances, **arrays)

    @classmethod
    def load(cls, path) -> "Table":
        """What `save` wrote.

        Raises:
            DataError: the file is missing or is no table of this version.
        """
        header, arrays = read_npz(path, VERSION, ("abundances", "column/disk"))
        columns = {k[7:]: v for k, v in arrays.items() if k.startswith("column/")}
        names, found = tuple(header.get("species", ())), arrays["abundances"]
        if found.ndim != 2 or {*map(np.shape, columns.values())} != {(len(found),)}:
            raise errors.DataError(f"{path} has columns of different lengths; make it anew.")
        if len(names) != found.shape[1] or "meta" not in header:
            raise errors.DataError(f"{path} does not say what its columns are; make it anew.")
        return cls(columns, names, found, header["meta"])

    def to_ecsv(self, path, species=None) -> None:
        """Astropy's text format with units: a commented YAML header and one row a line.

        Args:
            path: the file.
            species: which to write; all unless given.
        """
        names = tuple(species or self.species)
        lines = ["# %ECSV 1.0", "# ---", "# datatype:"]
        for name, values in self.columns.items():
            kind = "int64" if values.dtype.kind == "i" else "float64"
            unit = UNITS.get(name, "").replace("^", "").replace("Draine", "")
            unit = {"cm-3": "1 / cm3", "cm-2": "1 / cm2", "s-1": "1 / s"}.get(unit, unit)
            extra = f", unit: {unit}" if unit else ""
            lines.append(f"# - {{name: {name}{extra}, datatype: {kind}}}")
        lines += [f"# - {{name: '{name}', datatype: float64}}" for name in names]
        lines += [f"# meta: {_yaml(self.meta)}", "# schema: astropy-2.0"]
        lines.append(" ".join([*self.columns, *(f'"{n}"' for n in names)]))
        places = [self.species.index(n) for n in names]
        for row in range(len(self)):
            fields = [f"{v[row]:.10g}" for v in self.columns.values()]
            fields += [f"{v:.6e}" for v in self.abundances[row, places]]
            lines.append(" ".join(fields))
        pathlib.Path(path).write_text("\n".join(lines) + "\n")


def _yaml(meta: dict) -> str:
    """JSON that YAML 1.1 reads alike: to it 1e-20, without a point, is text."""
    text_or_number = re.compile(r'"(?:\\.|[^"\\])*"|(?<![\d.])(\d+)(e[+-]\d+)')
    dotted = lambda m: f"{m[1]}.0{m[2]}" if m[1] else m[0]
    return text_or_number.sub(dotted, json.dumps(meta))


def concatenate(tables: list[Table]) -> Table:
    """One table of many with the same columns and species; the first one's data card.

    Raises:
        DataError: tables that do not go together, or none.
    """
    if not tables:
        raise errors.DataError("no table came; give one at least.")
    first = tables[0]
    for other in tables:
        if other.species != first.species or set(other.columns) != set(first.columns):
            raise errors.DataError("tables with different columns or species do not join.")
    join = lambda key: np.concatenate([t.columns[key] for t in tables])
    return Table(
        {k: join(k) for k in first.columns},
        first.species,
        np.concatenate([t.abundances for t in tables]),
        first.meta,
    )


def write_npz(path, header: dict, **arrays) -> None:
    """A whole file or none; the header is a JSON string beside the arrays."""
    with atomic.replace(path) as fresh, fresh.open("wb") as file:
        np.savez_compressed(file, header=np.array(json.dumps(header)), **arrays)


def read_npz(path, version: int, wanted=()) -> tuple[dict, dict[str, np.ndarray]]:
    """(header, arrays) of `write_npz`.

    Args:
        path: the file.
        version: of the header.
        wanted: names of arrays that it must hold.

    Raises:
        DataError: no such file, not one of these, of another version or of another kind.
    """
    path = pathlib.Path(path)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
            arrays = {k: data[k] for k in data.files}
        header = json.loads(str(arrays.pop("header")))
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise errors.DataError(f"{path} is not a file of this package: {error}.") from error
    if not isinstance(header, dict) or header.get("version") != version:
        header = header if isinstance(header, dict) else {}
        raise errors.DataError(
            f"{path} has version {header.get('version')}, this code reads {version}; make it anew."
        )
    missing = [name for name in wanted if name not in arrays]
    if missing:
        raise errors.DataError(
            f"{path} holds something else: it has no {', '.join(missing)}; give another file."
        )
    return header, arrays
