"""Words in many scripts."""

import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.geocoding import words


@pytest.mark.parametrize(
    ("text", "expected"),
    [("Saint-Étienne", ["saint", "etienne"]), ("İstanbul", ["istanbul"]),
     ("東京都", list("東京都")), ("दिल्ली", ["दिल्ली"]), ("서울", ["서울"]),
     ("Αθήνα", ["αθηνα"]), ("", []), ("!? —", []),
     ("กรุงเทพ", ["ก", "รุ", "ง", "เ", "ท", "พ"]), ("サン・カ", ["サ", "ン", "カ"])],
)  # fmt: skip
def test_split(text, expected):
    assert [w.folded for w in words.split(text)] == expected


def test_offsets_and_segments():
    found = words.split("Trent, town in Kent")
    assert [(w.start, w.end) for w in found] == [(0, 5), (7, 11), (12, 14), (15, 19)]
    spans = {(a, n) for a, n, _ in words.grams(found, 3)}
    assert (0, 2) not in spans  # no name goes across a comma
    assert (1, 3) in spans


def test_scripts_without_spaces_have_longer_names_and_names_may_go_across_brackets():
    found = words.split("東京都千代田 (霞)")
    runs = lambda **options: {(a, n) for a, n, _ in words.grams(found, 2, **options)}
    assert max(n for _, n in runs()) == 2
    assert (0, 6) in runs(characters=6) and (0, 7) not in runs(characters=6)
    assert (0, 7) in runs(characters=7, across=True) and (0, 7) not in runs(characters=7)


def test_an_index_finds_all_rows_of_a_hash():
    index = words.Index(np.array([7, 3, 7]), np.array([10, 20, 30]))
    a, b = index.find(np.array([7, 3, 5]))
    assert index.rows[a[0] : b[0]].tolist() == [10, 30]
    assert a[2] == b[2]
    assert words.name_key("Łódź") == words.name_key("LODZ") != 0


def test_lists_of_strings():
    for texts in (("a", "b"), np.array(["a", "b"]), {1: "a", 2: "b"}.values()):
        assert words.strings(texts) == ["a", "b"]
    for texts in (["a", None], [b"a"], [1.5], np.array([["a"]])):
        with pytest.raises(errors.DataError, match=r"but text \d is "):
            words.strings(texts)


@pytest.mark.parametrize(
    "texts",
    [None, 5, "Paris", b"Paris", {"Paris": 1}, {"Paris"}, np.array("Paris"), iter(["Paris"])],
    ids=lambda t: type(t).__name__,
)
def test_what_is_no_list_of_strings(texts):
    with pytest.raises(errors.DataError, match=r"one text as \[text\]; got "):
        words.strings(texts)


def test_texts_with_a_place_for_each():
    assert words.placed("a map", ("a", "b"), [1, 2], np.zeros(2)) == ["a", "b"]
    for texts, lat, lon in ((["a"], [], []), (["a"], [1], [1, 2]), ([], [], [])):
        with pytest.raises(
            errors.DataError, match=r"^a map needs texts with a place for each, got"
        ):
            words.placed("a map", texts, lat, lon)
    with pytest.raises(errors.DataError, match="list of strings"):
        words.placed("a map", "a", [1], [1])
