"""S2 against what s2geometry 0.14.0 says (stored), and against known answers."""

import pathlib
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.bench import peers
from fl_jax.core import errors
from fl_jax.geocoding import s2

with np.load(pathlib.Path(__file__).parent / "s2geometry.npz") as _stored:
    ORACLE = dict(_stored)
LAT, LON = ORACLE["lat"], ORACLE["lon"]


def test_ids_are_those_of_s2geometry():
    np.testing.assert_array_equal(s2.cell_id(s2.key(LAT, LON, 30), 30), ORACLE["ids"])


@pytest.mark.parametrize("level", range(13))
def test_a_key_is_the_parent_of_a_deeper_one(level):
    deep = s2.key(LAT, LON, 30)
    np.testing.assert_array_equal(s2.key(LAT, LON, level), deep >> 2 * (30 - level))


def test_geometry_is_that_of_s2geometry():
    level = np.arange(200) % 13
    keys = s2.key(LAT[:200], LON[:200], 12) >> 2 * (12 - level)
    np.testing.assert_allclose(s2.corners(keys, level), ORACLE["vert"], atol=1e-14)
    centre = ORACLE["ctr"] / np.linalg.norm(ORACLE["ctr"], axis=1, keepdims=True)
    np.testing.assert_allclose(s2.centre(keys, level), centre, atol=1e-14)
    np.testing.assert_allclose(s2.area_km2(keys, level) / s2.EARTH_KM**2, ORACLE["area"], rtol=1e-8)


def test_on_the_device():
    run = jax.jit(s2.path_jax, static_argnums=2)
    single = run(jnp.asarray(LAT, jnp.float32), jnp.asarray(LON, jnp.float32), 12)
    assert np.mean((np.asarray(single) != s2.path(LAT, LON, 12)).any(1)) <= 1e-3
    with jax.enable_x64(True):
        double = run(jnp.asarray(LAT, jnp.float64), jnp.asarray(LON, jnp.float64), 12)
        np.testing.assert_array_equal(np.asarray(double), s2.path(LAT, LON, 12))


@pytest.mark.parametrize(
    ("level", "token", "path"),
    [(0, "5", "2"), (1, "44", "20"), (4, "47f", "20333"), (8, "47e67", "203330303"),
     (12, "47e66ff", "2033303031333")],
)  # fmt: skip
def test_the_eiffel_tower(level, token, path):
    key = s2.key(48.8584, 2.2945, level)
    assert str(s2.token(key, level)) == token
    assert s2.text(key, level) == path
    assert s2.parse(path + "\0") == s2.parse(path[0] + "/" + path[1:]) == (int(key), level)
    if level == 8:
        assert float(s2.area_km2(key, 8)) == pytest.approx(940.0, abs=0.05)


def test_areas_of_a_level_are_the_earth():
    keys = np.arange(6 * 4**3)
    total = s2.area_km2(keys, np.full(len(keys), 3)).sum()
    assert total == pytest.approx(4 * np.pi * s2.EARTH_KM**2, rel=1e-10)


def test_areas_of_children_are_their_parents_to_the_last_level():
    for level in (12, 20, 29):
        keys = s2.key(LAT[:50], LON[:50], level)
        children = sum(s2.area_km2(4 * keys + n, level + 1) for n in range(4))
        np.testing.assert_allclose(children, s2.area_km2(keys, level), rtol=1e-5)


def test_a_cells_centre_lies_in_it():
    keys = s2.key(LAT, LON, 9)
    lat, lon = s2.latlon(s2.centre(keys, 9))
    np.testing.assert_array_equal(s2.key(lat, lon, 9), keys)


@pytest.mark.parametrize("text", ["", "6", "24", "20333x", "2/0/3", "2" + "0" * 31])
def test_what_is_no_path_is_refused(text):
    with pytest.raises(errors.DataError, match="no path"):
        s2.parse(text)


@pytest.mark.parametrize(("lat", "lon"), [(91.0, 0.0), (np.nan, 0.0), (0.0, np.inf), (0.0, 400.0)])
def test_points_off_the_globe_are_refused(lat, lon):
    with pytest.raises(errors.DataError):
        s2.key(np.array([lat]), np.array([lon]), 3)


@pytest.mark.oracle
def test_a_hundred_thousand_points():
    draws = np.random.default_rng(3)
    lat, lon = s2.latlon(draws.normal(size=(100_000, 3)))
    with tempfile.TemporaryDirectory() as folder:
        np.savez(pathlib.Path(folder) / "points.npz", lat=lat, lon=lon)
        peers.run("s2geometry", "s2_reference.py", folder, "12")
        with np.load(pathlib.Path(folder) / "cells.npz") as found:
            np.testing.assert_array_equal(s2.path(lat, lon, 12), found["paths"])
            np.testing.assert_array_equal(s2.cell_id(s2.key(lat, lon, 30), 30), found["ids"])
