"""Displacements as people write them."""

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


def test_nothing_to_find():
    assert spatial.find("northern Lyon, 20 km") == []
