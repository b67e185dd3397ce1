"""Distances and means."""

import numpy as np
import pytest

from fl_jax.geocoding import s2, sphere


def test_there_and_back():
    lat, lon = sphere.move(48.85, 2.35, 37.0, 812.0)
    assert float(sphere.distance(48.85, 2.35, lat, lon)) == pytest.approx(812.0, rel=1e-9)
    a, b = s2.xyz(48.85, 2.35), s2.xyz(lat, lon)
    assert float(sphere.chord_km(a, b)) == pytest.approx(812.0, rel=1e-9)
    assert float(sphere.distance(0, 179.9, 0, -179.9)) < 30


@pytest.mark.parametrize("lat", [90.0, -90.0, 89.9999999, -60.0, 0.0])
def test_a_move_has_its_bearing_up_to_the_poles(lat):
    lon, bearing, km = 20.0, np.array([0.0, 33.0, 90.0, 180.0, 301.0]), 500.0
    a, b, angle = np.deg2rad(lat), np.deg2rad(lon), km / s2.EARTH_KM
    north = np.array([-np.sin(a) * np.cos(b), -np.sin(a) * np.sin(b), np.cos(a)])
    east = np.array([-np.sin(b), np.cos(b), 0.0])
    way = np.cos(np.deg2rad(bearing))[:, None] * north + np.sin(np.deg2rad(bearing))[:, None] * east
    found = s2.xyz(*sphere.move(lat, lon, bearing, km))
    np.testing.assert_allclose(
        found, np.cos(angle) * s2.xyz(lat, lon) + np.sin(angle) * way, atol=1e-12
    )


def test_the_median_is_no_worse_than_any_point_of_a_grid():
    draws = np.random.default_rng(0)
    points = draws.normal(size=(20, 3)) + np.array([2.0, 0, 0])
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    weights = draws.random(20)
    found = sphere.geometric_median(points, weights, iterations=200)
    cost = lambda x: weights @ np.arccos(np.clip(points @ x, -1, 1))
    grid = s2.xyz(*np.meshgrid(np.linspace(-80, 80, 81), np.linspace(-90, 90, 91))).reshape(-1, 3)
    assert cost(found) <= min(cost(g) for g in grid) + 1e-6
    assert sphere.mean_direction(np.array([[1.0, 0, 0], [-1, 0, 0]]), np.ones(2))[0] == 1
