"""The geocoder: texts in, places out; saved and loaded; what it refuses."""

import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.geocoding import cells, density, outline, posterior, s2
from fl_jax.geocoding import geocoder as geocoder_
from fl_jax.geocoding.service import formats


def test_places_are_found(geocoder):
    texts = ["Paris", "Москва", "東京", "Toronto, Canada"]
    answers = geocoder.geocode(texts, abstain=False)
    names = [geocoder.gazetteer.names[a.place] for a in answers]
    assert names == ["Paris", "Moscow", "Tokyo", "Toronto"]
    for answer in answers:
        assert answer.nested[0][1] >= answer.nested[-1][1]
        assert answer.nested[-1][0] == answer.cells.node[0]  # the heaviest leaf
        assert answer.cells.mass.sum() == pytest.approx(1)


def test_an_answer_that_is_a_place_lies_where_the_gazetteer_has_it(geocoder):
    answers = [a for a in geocoder.geocode(["Suva", "São Paulo", "Reykjavík"]) if a.place >= 0]
    assert answers
    for answer in answers:
        at = geocoder.gazetteer.lat[answer.place], geocoder.gazetteer.lon[answer.place]
        assert (answer.lat, answer.lon) == at


def test_a_text_alone_is_a_text_in_a_batch(geocoder):
    texts = ["Lyon", "", "50 km north of Lyon", "x" * 500, "zzz qqq"] * 3
    together = geocoder.geocode(texts)
    for text, one in zip(texts[:5], together, strict=False):
        (alone,) = geocoder.geocode([text])
        assert alone.found == one.found
        if one.found:
            assert (alone.lat, alone.lon) == pytest.approx((one.lat, one.lon), abs=1e-3)
    assert not together[1].found and not together[4].found


def test_regions_are_finer_than_leaves(geocoder):
    (answer,) = geocoder.geocode(["Lyon"], residual=0.0)
    found = geocoder.inside(answer.cells, answer.points)
    assert found.mass.sum() == pytest.approx(1)
    leaf = cells.leaf(geocoder.partition, *s2.latlon(s2.centre(found.key, found.level)))
    own = np.bincount(leaf, found.mass, len(geocoder.partition.leaves))
    nodes = geocoder.partition.leaves
    assert own[np.argsort(nodes)] == pytest.approx(answer.cells.mass[np.argsort(answer.cells.node)])
    half = density.region_km2(found, 0.5)
    assert half < geocoder.partition.area[answer.cells.node[0]] / 10
    body = formats.ours(geocoder, answer, polygon=0.5)["region"]["geometry"]
    drawn = [outline.area([tuple(p) for p in r[:-1]]) for c in body["coordinates"] for r in c]
    scale = (np.pi * s2.EARTH_KM / 180) ** 2 * np.cos(np.deg2rad(45.76))
    assert sum(drawn) * scale == pytest.approx(half, rel=0.05)


def test_refusals(geocoder):
    with pytest.raises(errors.DataError, match="a list of strings"):
        geocoder.geocode("Paris")
    with pytest.raises(errors.DataError, match="limit"):
        geocoder.geocode(["a" * 10_001])
    with pytest.raises(errors.ConfigError, match="residual"):
        geocoder.geocode(["a"], residual=1.0)
    assert geocoder.geocode([]) == []


def test_what_is_of_another_kind_is_refused(geocoder):
    """As users see it, whose types nobody checks."""
    geocode = geocoder_.Geocoder.geocode.__wrapped__
    with pytest.raises(errors.DataError, match=r"one text as \[text\]; got NoneType"):
        geocode(geocoder, None)
    for wrong in (None, "0.1", np.nan):
        with pytest.raises(errors.ConfigError, match="residual is a mass"):
            geocode(geocoder, ["a"], residual=wrong)
    with pytest.raises(errors.ConfigError, match=r"within is an area\.Area, got frozenset"):
        geocode(geocoder, ["a"], within=frozenset({"FR"}))
    with pytest.raises(errors.DataError, match="text 1 is NoneType"):
        geocoder_.Geocoder.infer.__wrapped__(geocoder, ["a", None], 0.0)
    assert geocode(geocoder, np.array([], str)) == []


def test_what_is_warm_compiles_nothing_more(geocoder):
    for function in (posterior.encode, posterior.expand):
        function.clear_cache()
    geocoder.warm(lengths=(32,), batches=(1,))
    sizes = [f._cache_size() for f in (posterior.encode, posterior.expand)]
    assert sizes[0] == 1
    geocoder.geocode(["Rome"])
    assert [f._cache_size() for f in (posterior.encode, posterior.expand)] == sizes
