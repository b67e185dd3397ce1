import itertools

import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.geocoding import matching, mention, placehood

TRAIN = "The train from Berlin to Warszawa stops in Poznań. " + "Nothing here. " * 40 + "Lyon!"


def test_mentions_have_offsets(geocoder):
    found = mention.mentions(geocoder, TRAIN, least=0.0)
    named = {TRAIN[m.start : m.end]: geocoder.gazetteer.names[m.row] for m in found}
    assert named.get("Warszawa", "Warsaw") == "Warsaw"
    assert {"Berlin", "Lyon"} <= set(named)
    assert all(a.end <= b.start for a, b in itertools.pairwise(found))
    assert all(0 <= m.probability <= 1 and 0 <= m.place <= 1 for m in found)


def test_what_is_no_text_or_no_probability_is_refused(geocoder):
    for wrong in (None, ["Lyon"], 5):
        with pytest.raises(errors.DataError, match="a text is a string, got"):
            mention.mentions.__wrapped__(geocoder, wrong)
    with pytest.raises(errors.ConfigError, match=r"from 0 to 1, got 1\.5"):
        mention.mentions(geocoder, "Lyon", least=1.5)


def test_a_geocoder_that_cannot_tell_names_from_words_says_so(geocoder, monkeypatch):
    monkeypatch.setattr(geocoder, "told", None)
    with pytest.raises(errors.ConfigError, match="cannot tell names from words"):
        mention.mentions(geocoder, "Lyon")


def test_fewer_are_found_the_surer_they_have_to_be(geocoder):
    sure = {m[:2] for m in mention.mentions(geocoder, TRAIN, least=0.6)}
    all_ = {m[:2] for m in mention.mentions(geocoder, TRAIN, least=0.0)}
    assert sure <= all_ and all_
    assert not mention.mentions(geocoder, TRAIN, least=1.0)


def test_a_country_is_found_as_one(geocoder):
    text = "Lyon, France"
    found = {text[m.start : m.end]: m for m in mention.mentions(geocoder, text, least=0.0)}
    assert geocoder.gazetteer.regions[found["France"].region].code == "FR"
    assert found["France"].row == -1 and found["France"].probability == 1
    assert found["Lyon"].region == -1 and geocoder.gazetteer.names[found["Lyon"].row] == "Lyon"


def test_a_region_behind_a_place_is_the_one_around_it(geocoder):
    """Athens, Georgia is in the state; Tbilisi, Georgia in the country."""
    places = geocoder.gazetteer
    row = places.names.index("Lyon")
    country = int(places.country[row])
    other = (country + 1) % places.countries
    match = matching.Match(0, 1, np.zeros(0, int), np.array([other, country]), 0, False)
    assert mention._around(geocoder, match, row, other) == country
    assert mention._around(geocoder, match, -1, other) == other
    elsewhere = match._replace(regions=np.array([other]))
    assert mention._around(geocoder, elsewhere, row, other) == other


def test_a_name_before_a_region_means_a_place_in_it(geocoder):
    places = geocoder.gazetteer
    here, there = places.names.index("Lyon"), places.names.index("Berlin")
    match = matching.Match(0, 1, np.array([2 * here, 2 * there]), np.zeros(0, int), 0, False)
    name = placehood.Candidate(match, 0, 4, "A", True)
    inside = mention._inside(places, name, places.country[[here]])
    assert inside.match.rows.tolist() == [2 * here]
    nowhere = np.setdiff1d(np.arange(places.countries), places.country[[here, there]])[:1]
    for unknown in (None, nowhere):
        assert mention._inside(places, name, unknown) == name


def test_a_long_text_is_read_in_windows_that_cover_it():
    text = "Word. " * 200
    parts = list(mention._windows(text))
    assert "".join(part for _, part in parts) == text
    assert all(
        text[at : at + len(part)] == part and len(part) <= mention.WINDOW for at, part in parts
    )
