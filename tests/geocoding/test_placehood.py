import numpy as np
import pytest

from fl_jax.geocoding import placehood, usage, words


def values(geocoder, text, counts=None):
    """{name: {feature: value}} of a text."""
    known = geocoder.known
    found = placehood.names(known, text)
    rows = placehood.features(known, counts or usage.nothing(), found)
    spans = [text[c.start : c.end] for c in found.candidates]
    return {
        s: dict(zip(placehood.FEATURES, r, strict=True)) for s, r in zip(spans, rows, strict=True)
    }


def test_every_name_is_a_candidate_once(geocoder):
    found = placehood.names(geocoder.known, "From Lyon, France, to Paris; Lyon again")
    spans = [(c.start, c.end) for c in found.candidates]
    assert len(set(spans)) == len(spans)
    assert {"Lyon", "France", "Paris"} <= {found.text[a:b] for a, b in spans}
    assert placehood.names(geocoder.known, "").candidates == []
    assert (
        placehood.features(
            geocoder.known, usage.nothing(), placehood.names(geocoder.known, "")
        ).size
        == 0
    )


def test_how_a_name_is_written(geocoder):
    found = values(geocoder, "Lyon is nice. We saw Paris, and LONDON, and berlin; then Rome")
    only = lambda name: {
        f for f in ("small", "capital", "capital_first", "shout") if found[name][f]
    }
    assert only("Lyon") == {"capital_first"}
    assert only("Paris") == only("Rome") == {"capital"}
    assert only("LONDON") == {"shout"}
    assert only("berlin") == {"small"}
    shy = values(geocoder, "from lyon to paris")
    assert shy["lyon"]["small_text"] and not shy["lyon"]["small"]
    assert values(geocoder, "我在 東京")["東京"]["no_case"]


def test_capitals_beside_a_name_are_seen_within_its_sentence(geocoder):
    found = values(geocoder, "Then Paris Hilton met Jack London. In Rome, Berlin")
    assert found["Paris"]["capital_behind"] and not found["Paris"]["capital_before"]
    assert found["London"]["capital_before"] and not found["London"]["capital_behind"]
    assert not found["Rome"]["capital_before"] and not found["Rome"]["capital_behind"]


def test_a_name_that_is_also_written_small_is_marked(geocoder):
    assert values(geocoder, "Nice to be in a nice town")["Nice"]["also_small"]
    assert not values(geocoder, "Nice and Lyon")["Nice"]["also_small"]


def test_use_counts_by_case(geocoder):
    """How often a name is a place where it has a capital says nothing of where it has none."""
    capital = [(usage.mark(usage.CAPITAL, "nice"), True)] * 9
    small = [(usage.mark(usage.SMALL, "nice"), False)] * 99
    counts = usage.count(capital + small)
    within = values(geocoder, "We saw Nice", counts)["Nice"]
    assert within["name"] == pytest.approx(np.log(9.5 / 0.5))
    assert within["known"] == pytest.approx(np.log1p(9))
    written_small = values(geocoder, "Paris is nice", counts)["nice"]
    assert written_small["name"] == pytest.approx(np.log(0.5 / 99.5))
    first = values(geocoder, "Nice it is", counts)["Nice"]  # a capital that says nothing
    assert first["name"] == pytest.approx(np.log(9.5 / 99.5))


def test_the_probability_is_the_logistic_function_of_the_score(geocoder):
    known, found = geocoder.known, placehood.names(geocoder.known, "Lyon and Paris")
    weights = np.linspace(-1, 1, len(placehood.FEATURES))
    told = placehood.Placehood(usage.nothing(), weights)
    score = placehood.features(known, told.usage, found) @ weights
    np.testing.assert_allclose(placehood.probability(known, told, found), 1 / (1 + np.exp(-score)))


def test_a_demonym_names_no_country(geocoder, monkeypatch):
    found = placehood.names(geocoder.known, "France")
    assert len(found.candidates[0].match.regions)
    places = geocoder.gazetteer._replace(demonyms=frozenset([words.name_key("France")]))
    known = geocoder.known._replace(gazetteer=places)
    assert not any(len(c.match.regions) for c in placehood.names(known, "France").candidates)
