"""What the evaluation counts."""

import numpy as np

from experiments.geocoding import evaluation, named, ordinary
from fl_jax.geocoding import embedded, gazetteer, mention, s2


def test_rows_in_the_gazetteer():
    places = gazetteer.from_rows(embedded.places(), embedded.countries(), {}, (), "embedded")
    truth = s2.xyz(np.array([48.85, 10.0, 48.85]), np.array([2.35, 10.0, 2.35]))
    found = evaluation.in_gazetteer(places, ["Paris", "Paris", ""], truth)
    assert found.tolist() == [True, False, False]
    assert evaluation.country_accuracy(places, truth, truth) == 1


class _Finder:
    """Finds a country in everything, or nothing can be told from it."""

    def __init__(self, told):
        self.told = told
        self.gazetteer = gazetteer.from_rows(
            embedded.places(), embedded.countries(), {}, (), "embedded"
        )


def test_places_in_sentences_are_scored_by_name_and_country(monkeypatch):
    found = _Finder(told=object())
    region = next(n for n, r in enumerate(found.gazetteer.regions) if r.code == "FR")
    one = mention.Mention(0, 5, -1, region, 1.0, 1.0)
    monkeypatch.setattr(mention, "mentions", lambda geocoder, text: [one])
    monkeypatch.setattr(named, "SEEN", ("[Paris|FR] it is", "Nobody is here"))
    monkeypatch.setattr(named, "UNSEEN", ("[Paris|US] it is",))
    monkeypatch.setattr(ordinary, "stories", lambda: ["A sentence"] * 3)
    scores = evaluation.mentioned(found)
    assert scores["seen"]["precision"] == 0.5 and scores["seen"]["recall"] == 1
    assert scores["seen"]["right country"] == 1 and scores["unseen"]["right country"] == 0
    assert scores["stories"] == {"sentences": 3, "with a place": 3}


def test_a_geocoder_that_cannot_tell_names_from_words_is_not_scored():
    assert evaluation.mentioned(_Finder(told=None)) is None
