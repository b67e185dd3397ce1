"""Cells as polygons: at the antimeridian, at the poles, everywhere."""

import itertools

import numpy as np
import pytest

from fl_jax.geocoding import geojson, s2, sphere


def signed_area(ring):
    x, y = np.array(ring).T
    return float(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]) / 2)


@pytest.mark.parametrize("level", [0, 1, 2, 5, 8, 12])
@pytest.mark.parametrize(
    ("lat", "lon"), [(-17.7, 178.0), (66.0, -179.9), (89.9, 10.0), (-89.99, -160.0), (48.8, 2.3),
                     (0.01, 179.999)],
)  # fmt: skip
def test_rings_are_valid(lat, lon, level):
    key = int(s2.key(lat, lon, level))
    rings = geojson.rings(key, level)
    assert 1 <= len(rings) <= 2
    total = 0.0
    for ring in rings:
        points = np.array(ring)
        assert ring[0] == ring[-1] and len(ring) >= 4
        assert (np.abs(points[:, 0]) <= 180).all() and (np.abs(points[:, 1]) <= 90).all()
        assert np.abs(np.diff(points[:, 0])).max() <= 360
        assert signed_area(ring) > 0  # counter-clockwise
        # area on the sphere of a ring of short straight lines, by Green's theorem
        x, y = np.deg2rad(points[:, 0]), np.sin(np.deg2rad(points[:, 1]))
        total += float(np.sum(np.diff(x) * -(y[1:] + y[:-1]) / 2))
    expected = float(s2.area_km2(key, level)) / s2.EARTH_KM**2
    assert total == pytest.approx(expected, rel=0.02 if level else 0.05)
    west, south, east, north = geojson.box(key, level)
    lat_in, lon_in = s2.latlon(s2.centre(key, level))
    assert south <= lat_in <= north
    assert (west <= lon_in <= east) if west <= east else (lon_in >= west or lon_in <= east)


def test_cells_that_share_an_edge_are_one_polygon(pieces):
    partition = pieces[1].partition
    keys, levels = partition.key[partition.leaves], partition.level[partition.leaves]
    found = geojson.multipolygon(keys, levels)
    assert found["type"] == "MultiPolygon"
    rings = [ring for polygon in found["coordinates"] for ring in polygon]
    lines = [frozenset(map(tuple, e)) for r in rings for e in itertools.pairwise(r)]
    assert len(lines) == len(set(lines)) and all(r[0] == r[-1] for r in rings)
    assert len(found["coordinates"]) < len(partition.leaves)
    one = geojson.multipolygon(keys[:1], levels[:1])["coordinates"]
    assert one == [[ring] for ring in geojson.rings(int(keys[0]), int(levels[0]))]


def test_bounds_of_many_cells_leave_out_the_widest_stretch():
    fiji = s2.key(np.array([-17.7, -17.7, -16.0]), np.array([178.0, -178.0, 179.9]), 7)
    west, south, east, north = geojson.bounds(geojson.multipolygon(fiji, np.full(3, 7)))
    assert 176 < west < 178 and -178 < east < -176 and south < -17.7 and north > -16
    far = s2.key(np.array([48.8, 40.7, 35.6]), np.array([2.3, -74.0, 139.7]), 8)
    west, _, east, _ = geojson.bounds(geojson.multipolygon(far, np.full(3, 8)))
    assert -75 < west < -74 and 139 < east < 141
    around = geojson.multipolygon(np.array([2, 0]), np.zeros(2, np.int64))
    assert geojson.bounds(around)[::2] == (-180, 180) and geojson.bounds(around)[3] == 90
    for key in (0, 7, 12, 15):
        own = geojson.multipolygon(np.array([key]), np.array([1]))
        assert geojson.bounds(own) == pytest.approx(geojson.box(key, 1))


@pytest.mark.parametrize("lat", [-89.99, -60.0, 0.0, 48.85, 78.2, 89.5])
@pytest.mark.parametrize("lon", [-180.0, -179.95, 2.35, 179.95, 180.0])
def test_a_square_holds_its_circle_and_touches_it(lat, lon):
    west, south, east, north = geojson.square(lat, lon, 20.0)
    at_lat, at_lon = sphere.move(lat, lon, np.linspace(0, 360, 3601), 20.0)
    turn = lambda x: (np.asarray(x) - lon + 180) % 360 - 180
    assert (south - 1e-9 <= at_lat).all() and (at_lat <= north + 1e-9).all()
    if (west, east) == (-180.0, 180.0):
        assert lat - 0.18 < -90 or lat + 0.18 > 90
        return
    assert (turn(west) - 1e-9 <= turn(at_lon)).all() and (turn(at_lon) <= turn(east) + 1e-9).all()
    np.testing.assert_allclose(turn(at_lon).max(), turn(east), rtol=1e-5)
    np.testing.assert_allclose([at_lat.min(), at_lat.max()], [south, north])
    assert -180 <= west <= 180 and -180 <= east <= 180


def test_a_union_leaves_out_the_widest_stretch():
    assert geojson.union([(1, 2, 3, 4)]) == (1, 2, 3, 4)
    assert geojson.union([(179, 0, -179, 1)]) == (179, 0, -179, 1)
    assert geojson.union([(2, 48, 3, 49), (139, 35, 140, 36)]) == (2, 35, 140, 49)
    assert geojson.union([(139, 35, 140, 36), (-75, 40, -73, 41), (-180, 0, -170, 1)])[::2] == (
        139, -73
    )  # fmt: skip
    assert geojson.union([(-180, 60, 180, 90), (1, 2, 3, 4)]) == (-180, 2, 180, 90)
