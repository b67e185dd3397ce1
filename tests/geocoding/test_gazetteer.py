"""The embedded gazetteer, and the real one where it is."""

import gzip

import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.geocoding import embedded, gazetteer, sphere, words
from fl_jax.geocoding.service import page


@pytest.fixture(scope="module")
def small():
    return gazetteer.from_rows(embedded.places(), embedded.countries(), {}, (), "embedded")


def rows(found, name):
    a, b = found.place_index.find(np.array([words.name_key(name)]))
    return (found.place_index.rows[a[0] : b[0]] >> 1).tolist()


def test_names_and_alternates(small):
    assert small.display(rows(small, "Paris")[0]) == "Paris, France"
    assert {small.country_code(r) for r in rows(small, "Paris")} == {"FR", "US"}
    assert small.names[rows(small, "巴黎")[0]] == "Paris"
    assert rows(small, "Atlantis") == []
    assert (np.diff(small.population) <= 0).all()


def test_no_place_has_no_name(small):
    """-1 in an answer would count from the end."""
    with pytest.raises(errors.DataError, match=r"row -1 is no place; .*formats\.label"):
        small.display(-1)


def test_typed_coordinates_are_on_the_right_side_of_the_earth(small):
    row = rows(small, "Sydney")[0]
    assert small.lat[row] < 0 < small.lon[row]
    assert (
        float(sphere.distance(-34.6, -58.4, small.lat[rows(small, "Buenos Aires")[0]], -58.38)) < 5
    )
    assert small.lat[rows(small, "Luanda")[0]] < 0


def test_nearest_and_regions(small):
    row, km = small.nearest(48.8, 2.4)
    assert small.names[row] == "Paris" and km < 10
    assert small.nearest(48.8, -357.6) == (row, pytest.approx(km))
    for point in ((np.nan, 0), (0, np.nan), (np.inf, 0), (0, -np.inf), (90.1, 0), (0, 361)):
        with pytest.raises(errors.DataError, match=r"coordinate is not finite|latitudes are"):
            small.nearest(*point)
    region, leaf, count = gazetteer.region_weights(
        small, np.zeros(len(small.names), np.int64), 1, np.arange(len(small.names))
    )
    assert count.sum() == len(small.names) and (leaf == 0).all() and len(region) == small.countries


@pytest.mark.data("geonames-cities500")
@pytest.mark.slow
def test_the_real_one():
    found = gazetteer.load()
    assert len(found.names) == 234_908
    assert found.display(rows(found, "東京")[0]) == "Tokyo, Japan"
    assert any("CC BY" in notice for notice in found.notices)
    assert found.alpha3["FRA"] == "FR" and len(found.alpha3) == found.countries


def test_files_that_are_cut_short_are_said(tmp_path, monkeypatch):
    monkeypatch.setenv("FL_JAX_DATA", str(tmp_path))
    for name in ("geonames-cities500", "countries-mledoze"):
        (tmp_path / name).mkdir()
    country = b'{"cca2": "FR", "cca3": "FRA", "latlng": [46, 2], "translations": {}, "name":'
    country += b'{"common": "France", "official": "France"}}'
    files = {
        "countries-mledoze/countries.json.gz": b"[" + country + b"]",
        "geonames-cities500/admin1CodesASCII.txt.gz": b"FR.1\tLyonnais\tLyonnais\t1\n",
        "geonames-cities500/cities500.tsv.gz": b"id\n1\tLyon\t45.7\t4.8\tFR\t1\t9\tx\t\n",
        "countries-mledoze/outlines.geojson.gz": b'{"features": []}',
    }
    for name, body in files.items():
        (tmp_path / name).write_bytes(gzip.compress(body))
    page.outlines.cache_clear()
    assert gazetteer.load().display(0) == "Lyon, Lyonnais, France" and page.outlines() == b"[]"
    for name, body in files.items():
        page.outlines.cache_clear()
        for broken in (gzip.compress(body)[:-9], gzip.compress(b""), None):
            if "admin1" in name and broken == gzip.compress(b""):
                continue  # no divisions
            if broken is None:
                (tmp_path / name).unlink()
            else:
                (tmp_path / name).write_bytes(broken)
            with pytest.raises(errors.DataError, match="cannot be read"):
                page.outlines() if "outlines" in name else gazetteer.load()
        (tmp_path / name).write_bytes(gzip.compress(body))
    page.outlines.cache_clear()
