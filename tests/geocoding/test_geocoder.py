"""The geocoder: texts in, places out; saved and loaded; what it refuses."""

import itertools
import json

import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.geocoding import geocoder as geocoders
from fl_jax.geocoding import posterior


def test_places_are_found(geocoder):
    texts = ["Paris", "Москва", "東京", "Toronto, Canada"]
    answers = geocoder.geocode(texts, abstain=False)
    names = [geocoder.gazetteer.names[a.place] for a in answers]
    assert names == ["Paris", "Moscow", "Tokyo", "Toronto"]
    for answer in answers:
        assert answer.nested[0][1] >= answer.nested[-1][1]
        assert answer.nested[-1][0] == answer.cells.node[0]  # the heaviest leaf
        assert answer.cells.mass.sum() == pytest.approx(1)


def test_a_text_alone_is_a_text_in_a_batch(geocoder):
    texts = ["Lyon", "", "50 km north of Lyon", "x" * 500, "zzz qqq"] * 3
    together = geocoder.geocode(texts)
    for text, one in zip(texts[:5], together, strict=False):
        (alone,) = geocoder.geocode([text])
        assert alone.found == one.found
        if one.found:
            assert (alone.lat, alone.lon) == pytest.approx((one.lat, one.lon), abs=1e-3)
    assert not together[1].found and not together[4].found


def test_saved_and_loaded(geocoder, tmp_path):
    geocoder.save(tmp_path)
    back = geocoders.load(tmp_path, geocoder.gazetteer)
    one, other = (g.geocode(["Berlin, Deutschland"])[0] for g in (geocoder, back))
    assert (one.lat, one.lon, one.place) == (other.lat, other.lon, other.place)
    np.testing.assert_array_equal(one.cells.node, other.cells.node)
    meta = json.loads((tmp_path / "geocoder.json").read_text())
    (tmp_path / "geocoder.json").write_text(json.dumps({**meta, "places": 5}))
    with pytest.raises(errors.DataError, match="5 places"):
        geocoders.load(tmp_path, geocoder.gazetteer)
    with pytest.raises(errors.DataError, match="no geocoder"):
        geocoders.load(tmp_path / "nowhere", geocoder.gazetteer)


def test_mentions_have_offsets(geocoder):
    text = "The train from Berlin to Warszawa stops in Poznań. " + "Nothing here. " * 40 + "Lyon!"
    found = geocoder.mentions(text, least=0.0)
    named = {text[m.start : m.end]: geocoder.gazetteer.names[m.row] for m in found}
    assert named.get("Warszawa", "Warsaw") == "Warsaw"
    assert {"Berlin", "Lyon"} & set(named)
    assert all(a.end <= b.start for a, b in itertools.pairwise(found))


def test_refusals(geocoder):
    with pytest.raises(errors.DataError, match="limit"):
        geocoder.geocode(["a" * 10_001])
    with pytest.raises(errors.ConfigError, match="residual"):
        geocoder.geocode(["a"], residual=1.0)


def test_what_is_warm_compiles_nothing_more(geocoder):
    for function in (posterior.encode, posterior.expand):
        function.clear_cache()
    geocoder.warm(lengths=(32,), batches=(1,))
    sizes = [f._cache_size() for f in (posterior.encode, posterior.expand)]
    assert sizes[0] == 1
    geocoder.geocode(["Rome"])
    assert [f._cache_size() for f in (posterior.encode, posterior.expand)] == sizes
