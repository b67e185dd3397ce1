import json

import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.data import safetensors
from fl_jax.geocoding import store


def test_saved_and_loaded(geocoder, tmp_path):
    store.save(geocoder, tmp_path)
    back = store.load(tmp_path, geocoder.gazetteer)
    one, other = (g.geocode(["Berlin, Deutschland"])[0] for g in (geocoder, back))
    assert (one.lat, one.lon, one.place) == (other.lat, other.lon, other.place)
    np.testing.assert_array_equal(one.cells.node, other.cells.node)
    meta = json.loads((tmp_path / "geocoder.json").read_text())
    (tmp_path / "geocoder.json").write_text(json.dumps({**meta, "places": 5}))
    with pytest.raises(errors.DataError, match="5 places"):
        store.load(tmp_path, geocoder.gazetteer)
    with pytest.raises(errors.DataError, match="no geocoder"):
        store.load(tmp_path / "nowhere", geocoder.gazetteer)


def test_a_calibration_of_whole_leaves_is_made_anew(geocoder, tmp_path):
    store.save(geocoder, tmp_path)
    path = tmp_path / "knowledge.safetensors"
    file = safetensors.File(path)
    kept = {n: np.array(file.tensor(n)) for n in file.entries if n != "calibration/spread"}
    safetensors.write(path, kept)
    with pytest.raises(errors.DataError, match="calibrate it again"):
        store.load(tmp_path, geocoder.gazetteer)
    back = store.load(tmp_path, geocoder.gazetteer, calibrated=False)
    store.save(back, tmp_path)
    assert store.load(tmp_path, geocoder.gazetteer).calibration.region_mass(0.5) == 0.5
