"""Restrictions and preferences of where answers lie."""

import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.geocoding import area, gazetteer

ROWS = [(1, "A", 48.0, 2.0, "FR", "", 3000, ""), (2, "B", -18.0, 179.0, "FJ", "", 2000, ""),
        (3, "C", -17.0, -179.0, "FJ", "", 1000, "")]  # fmt: skip
COUNTRIES = [("FR", 47, 2, ["France"]), ("FJ", -18, 178, ["Fiji"])]


@pytest.fixture(scope="module")
def places():
    return gazetteer.from_rows(ROWS, COUNTRIES, {}, (), "test")


def test_boxes_may_cross_longitude_180(places):
    box = area.Box(170, -20, -170, -10)
    assert box.holds(places.lat, places.lon).tolist() == [False, True, True]
    assert area.Box(0, 40, 10, 50).holds(places.lat, places.lon).tolist() == [True, False, False]
    assert box.holds(-18.0, 179.0) and not box.holds(-21.0, 179.0)


def test_what_is_left_out_weighs_nothing(places):
    weights = lambda **asked: area.Area(**asked).weights(places).tolist()
    assert area.Area().weights(places) is None and not area.Area().restricts
    assert weights(countries=frozenset({"FJ"})) == [0, 1, 1]
    assert weights(box=area.Box(170, -20, 180, -10)) == [0, 1, 0]
    assert weights(countries=frozenset({"FR"}), box=area.Box(170, -20, 180, -10)) == [0, 0, 0]
    own = area.Area(countries=frozenset({"FR"}), box=area.Box(0, 40, 10, 50))
    assert own.restricts and own.holds(48.0, 2.0, "FR")
    assert not own.holds(48.0, 2.0, "DE") and not own.holds(60.0, 2.0, "FR")


def test_what_is_near_weighs_more(places):
    near = area.Area(near=(-18.0, 179.0))
    assert not near.restricts
    here, there, away = near.weights(places)[[1, 2, 0]]
    assert here == pytest.approx(1 + area.LIKELIER) and here > there > away > 0.999
    preferred = area.Area(preferred=area.Box(0, 40, 10, 50)).weights(places)
    np.testing.assert_allclose(preferred, [1 + area.LIKELIER, 1, 1])


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"countries": frozenset({"FR", "fj"})}, "no country 'fj'"),
        ({"box": area.Box(170, -20, 190, -10)}, "its west above its east"),
        ({"preferred": area.Box(0, -100, 10, 0)}, "latitude -100"),
        ({"near": (np.nan, 0.0)}, "latitude nan"),
    ],
)
def test_what_is_nowhere_is_refused(places, asked, said):
    with pytest.raises(errors.ConfigError, match=said):
        area.Area(**asked).weights(places)
