"""Words in many scripts."""

import pytest

from fl_jax.geocoding import words


@pytest.mark.parametrize(
    ("text", "expected"),
    [("Saint-Étienne", ["saint", "etienne"]), ("İstanbul", ["istanbul"]), 
     ("東京都", list("東京都")), ("दिल्ली", ["दिल्ली"]), ("서울", ["서울"]), ("Αθήνα", ["αθηνα"]), ("", []), ("!? —", [])],  # noqa: E501
)  # fmt: skip
def test_split(text, expected):
    assert [w.folded for w in words.split(text)] == expected


def test_offsets_and_segments():
    found = words.split("Trent, town in Kent")
    assert [(w.start, w.end) for w in found] == [(0, 5), (7, 11), (12, 14), (15, 19)]
    spans = {(a, n) for a, n, _ in words.grams(found, 3)}
    assert (0, 2) not in spans  # no name goes across a comma
    assert (1, 3) in spans


def test_an_index_finds_all_rows_of_a_hash():
    import numpy as np

    index = words.Index(np.array([7, 3, 7]), np.array([10, 20, 30]))
    a, b = index.find(np.array([7, 3, 5]))
    assert index.rows[a[0] : b[0]].tolist() == [10, 30]
    assert a[2] == b[2]
    assert words.name_key("Łódź") == words.name_key("LODZ") != 0
