"""Each reader on a small file in the layout that it documents, written here."""

import pathlib
import sqlite3

import numpy as np
import pytest

from algorithmic.disks import adapters, constants, radiation
from algorithmic.disks.adapters import Column
from fl_jax.core import errors
from fl_jax.data import sources


def andes(folder: pathlib.Path, bad: str = "") -> pathlib.Path:
    """Two radii at time 7: one is among the first three, one of its cells is too thin."""
    run = folder / "run"
    run.mkdir()
    rows = ((3, 1, 0.5, 0.0, 1e-15), (4, 1, 10.0, 0.0, 2e-16), (4, 2, 10.0, 3.0, 1e-22))
    place = [" | ".join(map(str, row[:4])) for row in rows]
    (run / "Chemistry_00007").write_text(
        "# ir | iz | Radius | Height | CO | oH2 | pH2\n"
        + "".join(f" {p} | 1.0D+03 | 3e7 | {bad or '1e7'}\n" for p in place)
    )
    (run / "physical_structure_00007").write_text(
        "# ir | iz | Radius | Height | Gas density | Dust density | Gas temperature"
        " | Dust temperature\n"
        + "".join(
            f" {p} | {row[4]} | 1e-18 | 40 | 30\n" for p, row in zip(place, rows, strict=True)
        )
    )
    (run / "Ionization_Rate_00007").write_text(
        "# ir | iz | Radius | Height | IR_XR[1/s] | IR_CR[1/s] | IR_Total[1/s]\n"
        + "".join(f" {p} | 1e-17 | 2e-17 | 3e-17\n" for p in place)
    )
    (run / "RadInt_StrengthTotal_00007").write_text(
        "# ir | iz | Radius | Height | G_UV\n" + "".join(f" {p} | 100.0\n" for p in place)
    )
    (folder / "config.ini").write_text("0.7 :: stellar mass [MSun]\n")
    return run


def test_a_folder_of_andes(tmp_path):
    found = adapters.read_andes(andes(tmp_path), 7, disk=4, uv="G_UV")
    assert len(found) == 1 and found.columns["disk"].tolist() == [4]
    density = 2e-16 / (1.4 * constants.M_H)
    assert found.columns["numberdens"][0] == pytest.approx(density)
    assert found.columns["temperature"][0] == 30.0  # of the dust
    assert found.columns["ionization"][0] == 3e-17
    assert found.columns["uv"][0] == pytest.approx(100 * radiation.DRAINE_PER_ANDES)
    x = dict(zip(found.species, found.abundances[0], strict=True))
    assert x["CO"] == pytest.approx(1e3 / density) and x["H2"] == pytest.approx(4e7 / density)
    assert "0.7" in found.meta["note"]
    assert found.features(("numberdens", "uv")).shape == (1, 2)
    assert "uv" not in adapters.read_andes(tmp_path / "run", 7).columns


def test_andes_files_that_are_wrong(tmp_path):
    run = andes(tmp_path, bad="none")
    with pytest.raises(errors.DataError, match="Chemistry_00007, line 2: could not convert"):
        adapters.read_andes(run, 7)
    with pytest.raises(errors.DataError, match="there is no file"):
        adapters.read_andes(run, 8)


NOTEBOOK = ("Disk ID", "Radius", "Height", "Gas Number Density", "Gas temperature",
            "Dust temperature", "AV_true", "G_UV", "radiation_strength", "IR_Total[1/s]", "CO",
            "HCO^+")  # fmt: skip
ROWS = [
    ("b", 10.0, 1.0, 1e8, 30.0, 30.0, 2.0, 50.0, 0.0, 1e-17, 1e4, 1e-2),
    ("a", 20.0, 1.0, 1e7, 20.0, 20.0, 1.0, 1e-40, 0.0, 2e-17, 1e2, 1e-3),
    ("a", 20.0, 9.0, 1e3, 20.0, 20.0, 1.0, 1.0, 0.0, 2e-17, 1e2, 1e-3),
]


def database(path: pathlib.Path, rows, table: str = "chemistry") -> pathlib.Path:
    base = sqlite3.connect(path)
    names = ", ".join(f'"{n}"' for n in NOTEBOOK)
    base.execute(f"CREATE TABLE {table} ({names})")
    base.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(NOTEBOOK))})", rows)
    base.commit()
    base.close()
    return path


def test_the_notebooks_database(tmp_path):
    found = adapters.read_notebook(database(tmp_path / "a.sqlite", ROWS))
    assert len(found) == 2 and found.species == ("CO", "HCO^+")  # the third cell is too thin
    assert found.columns["disk"].tolist() == [1, 0]
    np.testing.assert_allclose(found.abundances[:, 0], [1e-4, 1e-5])
    np.testing.assert_allclose(found.features(("uv",))[:, 0], [np.log10(50 * 0.5604), -30.0])
    with pytest.raises(errors.DataError, match="CO is not finite in 1 rows"):
        adapters.read_notebook(database(tmp_path / "b.sqlite", [(*ROWS[0][:-2], None, 1e-2)]))
    with pytest.raises(errors.DataError, match="no table chemistry"):
        adapters.read_notebook(database(tmp_path / "c.sqlite", ROWS, table="other"))


def prodimo(path: pathlib.Path, nx=2, nz=1, species=("H2", "CO", "e-"), titles=None):
    """The header's two lines that matter, and rows of nx nz cells."""
    heat, cool, waves = 2, 1, 3
    lines = [""] * 24
    lines[21] = f"sizes {nx} {nz} {len(species) - 1} {heat} {cool} {waves}"
    names = "".join(f"{s:>13}" for s in titles or species)
    lines[23] = " " * (233 + 13 * (heat + cool + 1)) + names
    for i in range(nx * nz):
        fixed = [i, 0, 10.0 + i, 1.0, 1e22, 1e21, 3.0, 2.0, 5e7, 40.0, 30.0, 1.0, 1e-16, 1.0, 1.0,
                 12.0, 0, 0, 0, 0, 0]  # fmt: skip
        body = [0.0] * (heat + cool) + [1e8] + [5e7, 1e4, 1.0] + [0.0] * waves
        rest = [0.0] * 17
        rest[9], rest[16] = 1e-17, 2e-17
        lines.append(" ".join(f"{v:.5e}" for v in fixed + body + rest))
    path.write_text("\n".join(lines) + "\n")
    return path


def test_prodimo(tmp_path):
    found = adapters.read_prodimo(prodimo(tmp_path / "ProDiMo.out"))
    assert len(found) == 2 and found.species == ("H2", "CO", "e-")
    np.testing.assert_allclose(found.abundances[0], [0.5, 1e-4, 1e-8])
    wanted = {"radius": 10.0, "numberdens": 1e8, "temperature": 30.0, "uv": 12.0, "av_up": 2.0,
              "av_star": 3.0, "column_up": 1e21, "column_star": 1e22,
              "ionization": 3e-17}  # fmt: skip
    for name, value in wanted.items():
        assert found.columns[name][0] == pytest.approx(value), name
    with pytest.raises(errors.DataError, match="line 24: 3 species were expected, 2 came"):
        adapters.read_prodimo(prodimo(tmp_path / "two.out", titles=("H2", "CO")))


def test_uclchem_cells(tmp_path):
    for name, co in (("a", 1e-4), ("b", 2e-4)):
        (tmp_path / name).write_text(
            "Time,Density,gasTemp,dustTemp,Av,radfield,zeta,point,H2 ,HE+,E-,CO\n"
            "0.0,2e4,10,11,1.0,1.7,2.0,1,0.5,1e-30,1e-8,1e-30\n"
            f"1e5,2e4,10,11,1.0,1.7,2.0,1,0.5,1.0-101,1e-8,{co}\n"
        )
    found = adapters.read_uclchem([tmp_path / "a", tmp_path / "b"])
    assert found.species == ("H2", "He+", "e-", "CO") and found.columns["disk"].tolist() == [0, 1]
    assert found.abundances[:, 3].tolist() == [1e-4, 2e-4] and found.abundances[0, 1] == 1e-101
    assert found.columns["uv"][0] == pytest.approx(np.exp(-3.02))
    assert found.columns["ionization"][0] == pytest.approx(2.6e-17)
    first = adapters.read_uclchem([tmp_path / "a"], years=10.0)
    assert first.abundances[0, 3] == 1e-30
    with pytest.raises(errors.DataError, match="a header and at least one time"):
        adapters.read_uclchem([tmp_path / "c"]) if (tmp_path / "c").write_text("Time\n") else None


@pytest.mark.data("astrochem")
def test_uclchems_own_files():
    folder = sources.folder("astrochem") / "reference"
    for name, years, co in (
        ("uclchem_gasonly_dark.csv", 1e6, 1.39e-4), ("uclchem_static-full.dat", None, None)
    ):  # fmt: skip
        found = adapters.read_uclchem([folder / name], years=years, thinnest=1e3)
        at = found.species.index("CO")
        assert 0 < found.abundances[0, at] < 2e-4
        if co:
            assert found.abundances[0, at] == pytest.approx(co, rel=1e-2)


def test_columns_that_the_user_names(tmp_path):
    path = tmp_path / "dali.dat"
    path.write_text("# r z n_gas t_d co\n10 1 1e8 30 1e4\n20 2 1e7 20 1e2\n")
    columns = {"radius": "r", "height": "z", "numberdens": Column("n_gas", 2.0),
               "temperature": "t_d"}  # fmt: skip
    found = adapters.read_columns(path, columns, {"CO": "co"}, per_nucleus=False, disk=3)
    np.testing.assert_allclose(found.columns["numberdens"], [2e8, 2e7])
    np.testing.assert_allclose(found.abundances[:, 0], [5e-5, 5e-6])
    with pytest.raises(errors.ConfigError, match=r"unknown column of dali\.dat 'n'"):
        adapters.read_columns(path, columns | {"radius": "n"}, {"CO": "co"})
    with pytest.raises(errors.DataError, match="gives no temperature"):
        adapters.read_columns(path, {k: columns[k] for k in list(columns)[:3]}, {"CO": "co"})
    path.write_text("r z n_gas t_d co\n10 1 1e8\n")
    with pytest.raises(errors.DataError, match=r"dali\.dat, line 2: 5 fields were expected, 3"):
        adapters.read_columns(path, columns, {"CO": "co"})


def test_tables_of_odd_shapes_are_sentences(tmp_path):
    path = tmp_path / "rows.dat"
    where = {"radius": "r", "height": "z", "numberdens": "n", "temperature": "T"}

    def read(text):
        path.write_text(text)
        return adapters.read_columns(path, where, {"CO": "CO"})

    with pytest.raises(errors.DataError, match="none of 0 rows"):
        read("r z n T CO\n")
    for rows in ("1 1 1e8 30 1e-4 7\n", "1 1 1e8 30 1e-4 7\n1 1 1e8 30 1e-4\n"):
        with pytest.raises(errors.DataError, match=r"line 2: 5 fields were expected, 6 came"):
            read("r z n T CO\n" + rows)
    with pytest.raises(errors.DataError, match="has 2 columns CO"):
        read("r z n T CO CO\n1 1 1e8 30 1e-4 1e-5\n")
    base = sqlite3.connect(tmp_path / "cells.sqlite")
    base.execute("CREATE TABLE chemistry ('Gas Number Density' REAL)")
    base.commit()
    base.close()
    with pytest.raises(errors.DataError, match="has no row"):
        adapters.read_notebook(tmp_path / "cells.sqlite")
