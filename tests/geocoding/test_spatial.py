"""Displacements as people write them."""

import time

import pytest

from fl_jax.geocoding import spatial, sphere


@pytest.mark.parametrize(
    ("text", "km", "bearing", "anchor"),
    [("50 km north of Lyon", 50, 0, "Lyon"), 
     ("3.5 miles south-west of Bath", 5.632704, 225, "Bath"), ("a 10 km al sur de Lima", 10, 180, "Lima"), ("20 km östlich von Graz", 20, 90, "Graz")],  # noqa: E501
)  # fmt: skip
def test_find(text, km, bearing, anchor):
    (found,) = spatial.find(text)
    assert found.km == pytest.approx(km)
    assert found.bearing == bearing
    assert text[found.anchor :] == anchor
    lat, lon = found.apply(45.0, 4.0)
    assert float(sphere.distance(45.0, 4.0, lat, lon)) == pytest.approx(km)


@pytest.mark.parametrize(
    ("number", "km"),
    [("1,000", 1000), ("1.000", 1000), ("1 000", 1000), ("1\u00a0000", 1000), ("1\u202f000", 1000),
     ("1\u2009000", 1000), ("1'000", 1000), ("1’000", 1000), ("12,345.6", 12345.6),
     ("12.345,6", 12345.6), ("1 234,5", 1234.5), ("3.5", 3.5), ("3,5", 3.5), ("0.125", 0.125),
     ("0,500", 0.5), ("12.3456", 12.3456), ("1000", 1000), ("1000,25", 1000.25), ("2000 300", 300),
     ("٣", 3)],
)  # fmt: skip
def test_numbers_as_languages_write_them(number, km):
    (found,) = spatial.find(f"a mine {number} km north of Paris")
    assert found.km == pytest.approx(km)


@pytest.mark.parametrize("number", ["1,00,5", "1,000,5", "1.000.0", "1'00", "1e3", "A4"])
def test_no_number_is_no_displacement(number):
    assert spatial.find(f"{number} km north of Paris") == []


def test_long_rows_of_digits_take_no_time():
    start = time.process_time()
    for text in ("1" * 10_000, "1 000" * 2000, "1,000," * 1600, "1 km" + " " * 10_000):
        assert spatial.find(text) == []
    assert time.process_time() - start < 1


def test_nothing_to_find():
    assert spatial.find("northern Lyon, 20 km") == []
