import numpy as np
import pytest
from sklearn import linear_model

from fl_jax.core import errors
from fl_jax.geocoding import placehood, s2, telling

PARIS = 48.85, 2.35


def labels(geocoder, text, **asked):
    found, meant = telling._told(geocoder.known, text, **asked)
    return {text[c.start : c.end]: int(y) for c, y in zip(found.candidates, meant, strict=True)}


def regions(places):
    rows = [
        np.flatnonzero((places.country == r) | (places.admin1 == r))
        for r in range(len(places.regions))
    ]
    return rows


def test_a_name_with_a_bearer_near_the_text_is_a_place(geocoder):
    of_region = regions(geocoder.gazetteer)
    found = labels(geocoder, "Paris, France; not Berlin", point=s2.xyz(*PARIS), of_region=of_region)
    assert found["Paris"] == 1 and found["France"] == 1 and found["Berlin"] == 0


def test_what_is_known_of_prose_is_its_small_words(geocoder):
    found = labels(geocoder, "Paris saw berlin", small=True)
    assert found == {"Paris": -1, "berlin": 0}


def test_planted_names_are_places_and_what_they_cut_is_unknown(geocoder):
    text = "All of Berlin and Paris"
    found = labels(geocoder, text, spans=[(7, 13)])
    assert found["Berlin"] == 1 and found["Paris"] == 0


def test_names_are_planted_where_words_were(geocoder):
    texts = ["everyone has the right to life and liberty and to a name of their own " * 5] * 20
    made = telling._plant(geocoder.gazetteer, texts, np.random.default_rng(0))
    assert sum(len(spans) for _, spans in made) > 20
    names = {n.lower() for n in geocoder.gazetteer.names}
    names |= {o.lower() for own in geocoder.gazetteer.alternates for o in own.split("|")}
    for text, spans in made:
        assert all(text[a:b].lower() in names for a, b in spans)


def test_the_regression_is_that_of_scikit_learn():
    draws = np.random.default_rng(0)
    x = np.column_stack([np.ones(400), draws.normal(size=(400, 3))])
    y = (draws.random(400) < 1 / (1 + np.exp(-x @ [0.5, 1.0, -2.0, 0.0]))).astype(int)
    judge = linear_model.LogisticRegression(
        C=1 / telling.RIDGE, fit_intercept=False, tol=1e-10, max_iter=1000
    )
    judge.fit(x, y)
    np.testing.assert_allclose(telling.regression(x, y), judge.coef_[0], atol=1e-5)


def test_a_regression_on_what_is_separable_ends():
    x = np.array([[1.0, -1.0], [1.0, 1.0]])
    assert np.isfinite(telling.regression(x, np.array([0, 1]))).all()


def test_learned_from_texts_names_are_told_from_words(geocoder):
    texts = [f"village in Paris, France {n}" for n in range(30)]
    placeless = ["Nice people have the right to be nice, and all of us have it."] * 30
    told = telling.fit(
        geocoder.known, texts, *np.full((2, 30), [[PARIS[0]], [PARIS[1]]]), placeless=placeless
    )

    def probability(text, name):
        found = placehood.names(geocoder.known, text)
        (at,) = [n for n, c in enumerate(found.candidates) if text[c.start : c.end] == name]
        return placehood.probability(geocoder.known, told, found)[at]

    assert probability("a village in Paris", "Paris") > 0.5
    assert probability("We have nice people in Paris", "nice") < 0.1
    again = telling.fit(
        geocoder.known, texts, *np.full((2, 30), [[PARIS[0]], [PARIS[1]]]), placeless=placeless
    )
    np.testing.assert_array_equal(told.weights, again.weights)


def test_texts_without_their_places_are_refused(geocoder):
    with pytest.raises(errors.DataError, match="got 1 texts, 0 latitudes"):
        telling.fit(geocoder.known, ["Paris"], np.zeros(0), np.zeros(0))
    with pytest.raises(errors.DataError, match="got 0 texts"):
        telling.fit(geocoder.known, [], np.zeros(0), np.zeros(0))
