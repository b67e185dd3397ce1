import dataclasses

import numpy as np
import pytest

from algorithmic.disks import population, species, table
from fl_jax.core import errors

SMALL = population.Population(disks=2, radii=3, layers=3, network="hand", r_min=5.0)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("population")
    return folder, population.make(SMALL, folder, data=None, workers=1)


def test_rows_units_and_card(made):
    _, rows = made
    assert rows.meta["rows"] == len(rows) > 4
    assert rows.meta["cells"]["not converged"] == 0
    assert set(np.unique(rows.columns["disk"])) == {0, 1}
    assert (rows.columns["numberdens"] > SMALL.thinnest).all()
    assert rows.features().shape == (len(rows), 4)
    atoms = np.array([species.composition(name).get("H", 0) for name in rows.species])
    np.testing.assert_allclose(rows.abundances @ atoms, 1.0, rtol=1e-6)


def test_finished_disks_are_not_made_again_and_another_config_is_refused(made, monkeypatch):
    folder, rows = made
    monkeypatch.setattr(population.model, "solve", None)  # would fail if it were called
    again = population.make(SMALL, folder, data=None, workers=1)
    np.testing.assert_array_equal(again.abundances, rows.abundances)
    with pytest.raises(errors.DataError, match="another years"):
        population.make(dataclasses.replace(SMALL, years=1e5), folder, data=None)
    with pytest.raises(errors.ConfigError, match="unknown family 'narrow'"):
        population.make(dataclasses.replace(SMALL, family="narrow"), folder, data=None)


def test_a_table_survives_saving_and_nothing_is_unpickled(made, tmp_path):
    _, rows = made
    rows.save(tmp_path / "rows.npz")
    again = table.Table.load(tmp_path / "rows.npz")
    np.testing.assert_array_equal(again.abundances, rows.abundances)
    assert again.meta == rows.meta
    (tmp_path / "bad.npz").write_bytes(b"no")
    with pytest.raises(errors.DataError, match="is not a file of this package"):
        table.Table.load(tmp_path / "bad.npz")
    rows.to_ecsv(tmp_path / "rows.ecsv", ("CO",))
    text = (tmp_path / "rows.ecsv").read_text().splitlines()
    assert text[0] == "# %ECSV 1.0"
    assert len(text) - 1 == len(rows) + sum(line.startswith("#") for line in text)


def test_bad_rows_are_refused(made):
    _, rows = made
    bad = dataclasses.replace(rows, columns={**rows.columns, "numberdens": -rows.columns["radius"]})
    with pytest.raises(errors.DataError, match="numberdens should be above 0"):
        bad.features(("numberdens",))
    with pytest.raises(errors.ConfigError, match="unknown species"):
        rows.targets(("XX",))
    hole = dataclasses.replace(rows, abundances=rows.abundances * np.nan)
    with pytest.raises(errors.DataError, match="have no abundance"):
        hole.targets(("CO",))
    with pytest.raises(errors.DataError, match="do not join"):
        table.concatenate([rows, dataclasses.replace(rows, species=("X",))])


@pytest.mark.parametrize("text", ["", "{", "[1]"])
def test_a_card_that_a_kill_cut_off_is_one_sentence(tmp_path, text):
    (tmp_path / "population.json").write_text(text)
    with pytest.raises(errors.DataError, match="does not say what disks are there"):
        population.make(SMALL, tmp_path, data=None)
