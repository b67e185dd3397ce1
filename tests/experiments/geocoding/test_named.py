import pytest

from experiments.geocoding import named


def test_marks_become_offsets():
    (found,) = named.sentences(["From [Lyon|FR] to [Bern|CH]."])
    assert found.text == "From Lyon to Bern."
    assert [found.text[p.start : p.end] for p in found.places] == ["Lyon", "Bern"]
    assert [p.country for p in found.places] == ["FR", "CH"]


@pytest.mark.parametrize("group", [named.SEEN, named.UNSEEN])
def test_every_mark_has_a_country(group):
    found = named.sentences(group)
    assert len(found) > 50 and len({s.text for s in found}) == len(found)
    assert not any(mark in s.text for s in found for mark in "[]|")
    assert all(len(p.country) == 2 and p.country.isupper() for s in found for p in s.places)


def test_scores_count_names_that_overlap():
    given = named.sentences(["From [Lyon|FR] to [Bern|CH].", "No place at all"])
    found = [[named.Place(4, 9, "FR"), named.Place(13, 17, "DE")], [named.Place(0, 2, "US")]]
    scores = named.score(given, found)
    assert scores["names"] == 2 and scores["recall"] == 1.0
    assert scores["precision"] == pytest.approx(2 / 3)
    assert scores["F1"] == pytest.approx(0.8)
    assert scores["right country"] == 0.5
    assert named.score(given, [[], []])["F1"] == 0.0
