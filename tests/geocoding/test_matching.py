"""Which words of a text are names, and of what."""

import numpy as np
import pytest

from fl_jax.geocoding import gazetteer, matching, words


@pytest.fixture(scope="module")
def places():
    """Four places and their regions."""
    rows = [
        (1, "Paris", 48.9, 2.35, "FR", "11", 2_000_000, "باريس"),
        (2, "Addis Ababa", 9.0, 38.7, "ET", "", 3_000_000, "አዲስ አበባ"),
        (3, "Paris", 33.7, -95.6, "US", "TX", 25_000, ""),
        (4, "Frankfurt (Oder)", 52.3, 14.5, "DE", "", 57_000, ""),
        (5, "San Carlos", -41.1, -71.3, "AR", "", 100_000, "サン・カルロス・デ・バリローチェ"),
    ]
    countries = [("FR", 47, 2, ["France"]), ("US", 39, -98, ["United States"])]
    return gazetteer.from_rows(rows, countries, {"US.TX": ["Texas"]}, (), "test")


def named(places, text, common=False):
    found = words.split(text)
    runs = matching.grams(found)
    hashes = np.array([h for _, _, h in runs])
    matches = matching.find(places, text, found, runs, hashes, np.full(len(runs), common))
    return found, matches


def spans(places, text, **options):
    found, matches = named(places, text, **options)
    return {text[found[m.first].start : found[m.after - 1].end] for m in matches}


def test_names_with_brackets_long_names_and_grown_ones(places):
    assert "Frankfurt (Oder" in spans(places, "Frankfurt (Oder)")
    assert spans(places, "ቤተ ክርስቲያን በአዲስ አበባ") == {"በአዲስ አበባ"}
    text = "サンカルロスデバリローチェの"
    assert text[:-1] in spans(places, text)
    assert spans(places, "مدرسة بباريس") == {"بباريس"}


def test_a_common_word_is_the_name_of_a_city_alone():
    """Berlin is in one training text of 200, and was no name for it."""
    rows = [
        (1, "Berlin", 52.5, 13.4, "DE", "", 3_400_000, ""),
        (2, "Berlin", 44.5, -71.2, "US", "", 9_400, ""),
        (3, "University", 28.1, -82.4, "US", "", matching.CITY - 1, ""),
        (4, "Guangzhou", 23.1, 113.3, "CN", "", 16_000_000, "Canton"),
    ]
    places = gazetteer.from_rows(rows, [("DE", 51, 9, ["Germany"])], {}, (), "test")
    text = "University in Berlin, canton"
    assert spans(places, text) == {"University", "Berlin", "canton"}
    assert spans(places, text, common=True) == {"Berlin"}
    _, (match,) = named(places, text, common=True)
    assert sorted(match.rows >> 1) == [0, 1]
    assert spans(places, "University", common=True) == {"University"}  # the whole text


def test_letters_for_a_division_count_behind_a_comma_alone(places):
    assert spans(places, "Paris, TX") == {"Paris", "TX"}
    assert spans(places, "Paris TX") == {"Paris"}
    assert spans(places, "Paris, tx") == {"Paris"}


def test_the_context_of_a_name(places):
    parent = np.array([-1, -1, 1])
    _, matches = named(places, "Paris, TX")
    context = matching.Context(places, parent, matches)
    city, region = sorted(matches, key=lambda m: m.first)
    assert (city.rows >> 1).tolist() == [0, 2]
    fit = context.fit(city)
    assert fit.division.tolist() == fit.implied.tolist() == [False, True]
    assert fit.not_division.tolist() == fit.not_implied.tolist() == [True, False]
    assert not fit.country.any() and not fit.not_country.any()
    assert context.countries_beside(region) == set()
    assert context.telling == {(1, 2)}


def test_a_name_of_a_country_and_a_division_differs_from_neither():
    rows = [(1, "Athens", 38, 23.7, "GR", "", 600_000, ""),
            (2, "Athens", 34, -83.4, "US", "GA", 120_000, ""),
            (3, "Athens", 41.7, 44.8, "GE", "", 100, "")]  # fmt: skip
    countries = [("GR", 39, 22, ["Greece"]), ("US", 39, -98, ["United States"]),
                 ("GE", 42, 43.5, ["Georgia"])]  # fmt: skip
    places = gazetteer.from_rows(rows, countries, {"US.GA": ["Georgia"]}, (), "test")
    _, matches = named(places, "Athens, Georgia")
    fit = matching.Context(places, np.array([-1, -1, -1, 1]), matches).fit(matches[0])
    assert (fit.country | fit.division).tolist() == [False, True, True]
    assert fit.not_country.tolist() == fit.not_division.tolist() == [True, False, False]


def test_runs_within_longer_ones():
    spans = [(0, 2), (0, 3), (2, 4), (5, 6)]
    cover = matching.Cover(spans)
    for first in range(8):
        for after in range(first + 1, 9):
            longer = any(a <= first and after <= b and b - a > after - first for a, b in spans)
            assert cover.longer(first, after) == longer
    assert not matching.Cover([]).longer(0, 1)


def test_a_region_named_again_and_again_is_one(places):
    parent = np.array([-1, -1, 1])
    _, matches = named(places, "Texas, Paris, Texas, France, Paris, Texas")
    context = matching.Context(places, parent, matches)
    cities = sorted((m for m in matches if len(m.rows)), key=lambda m: m.first)
    for city in cities:
        fit = context.fit(city)
        assert fit.country.tolist() == [True, False] and fit.division.tolist() == [False, True]
    assert context.countries_beside(cities[0]) == {0}
    assert context.telling == {(0, 1), (2, 3), (3, 4), (5, 6)}


def test_regions_beyond_the_most_tell_nothing(places, monkeypatch):
    monkeypatch.setattr(matching, "REGIONS", 1)
    _, matches = named(places, "Paris, Texas, France")
    context = matching.Context(places, np.array([-1, -1, 1]), matches)
    fit = context.fit(next(m for m in matches if len(m.rows)))
    assert fit.division.tolist() == [False, True] and not fit.country.any()
