"""Further names of divisions: each of one that there is, none that it has already."""

import numpy as np
import pytest

from fl_jax.geocoding import gazetteer, historic, words


def test_the_table_is_read():
    found = historic.names()
    assert found["FR.27"] == ["Burgundy", "Bourgogne", "Franche-Comté"]
    assert "Bohemia" in found["CZ.88"] and "Bohemia" in found["CZ.79"]
    for own in found.values():
        assert len(set(own)) == len(own) and all(n == n.strip() and len(n) > 2 for n in own)


@pytest.mark.data("geonames-cities500")
def test_every_division_is_there_and_lacked_the_name():
    folder = gazetteer.sources.require("geonames-cities500")
    divisions = gazetteer.divisions(folder / "admin1CodesASCII.txt.gz")
    for code, own in historic.names().items():
        first = {words.name_key(divisions[code][0])}
        assert not first & {words.name_key(n) for n in own}, code
        assert set(own) <= set(divisions[code])


def test_a_further_name_names_the_division():
    rows = [
        (1, "Dijon", 47.32, 5.04, "FR", "27", 1, ""),
        (2, "Lyon", 45.76, 4.84, "FR", "84", 1, ""),
    ]
    own = {c: [c, *historic.names()[c]] for c in ("FR.27", "FR.84")}
    found = gazetteer.from_rows(rows, [("FR", 46, 2, ["France"])], own, (), "two towns")
    a, b = found.region_index.find(np.array([words.name_key("burgundy")]))
    (region,) = found.region_index.rows[a[0] : b[0]]
    assert found.regions[region].code == "FR.27" and found.regions[region].name == "FR.27"
