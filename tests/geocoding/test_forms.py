"""Names that other words have grown onto."""

import numpy as np
import pytest

from fl_jax.geocoding import forms


@pytest.mark.parametrize(
    ("word", "name"),
    [("בירושלים", "ירושלים"), ("بالقاهره", "القاهره"), ("للقاهره", "القاهره"), ("በአዲስ", "አዲስ"),
     ("ובחיפה", "חיפה")],
)  # fmt: skip
def test_before(word, name):
    assert name in forms.before(word)


@pytest.mark.parametrize(
    ("word", "name"),
    [("москве", "москва"), ("казани", "казань"), ("париже", "париж"), ("서울에서", "서울"),
     ("თბილისში", "თბილისი"), ("αθηνας", "αθηνα"), ("πειραια", "πειραιας"),
     ("சென்னையில்", "சென்னை")],
)  # fmt: skip
def test_after(word, name):
    assert name in forms.after(word)


def test_latin_and_short_words_stay_as_they_are():
    for word in ("parish", "בא", "에", "123", ""):
        assert forms.before(word) == forms.after(word) == []


def test_what_grows_can_be_taken_off_again():
    draws = np.random.default_rng(0)
    for name in ("ירושלים", "አበባ", "서울", "ташкент", "კონსტანცა"):
        grown = forms.grow(name, draws).rpartition(" ")[2]
        assert grown != name
        assert name in forms.before(grown) + forms.after(grown)
    assert forms.grow("Paris", draws) == "Paris"
