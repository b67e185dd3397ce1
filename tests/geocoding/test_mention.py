import itertools

import pytest

from fl_jax.core import errors
from fl_jax.geocoding import mention


def test_mentions_have_offsets(geocoder):
    text = "The train from Berlin to Warszawa stops in Poznań. " + "Nothing here. " * 40 + "Lyon!"
    found = mention.mentions(geocoder, text, least=0.0)
    named = {text[m.start : m.end]: geocoder.gazetteer.names[m.row] for m in found}
    assert named.get("Warszawa", "Warsaw") == "Warsaw"
    assert {"Berlin", "Lyon"} & set(named)
    assert all(a.end <= b.start for a, b in itertools.pairwise(found))
    for wrong in (None, [text], 5):
        with pytest.raises(errors.DataError, match="a text is a string, got"):
            mention.mentions.__wrapped__(geocoder, wrong)


def test_where_names_have_capitals_a_word_without_one_is_none(geocoder, monkeypatch):
    monkeypatch.setattr(mention, "LEAST", 0.0)
    named = lambda text: {
        text[m.start : m.end] for m in mention.mentions(geocoder, text, least=0.0)
    }
    assert named("We had a nice time in Lyon, then split; Nice was next.") >= {"Lyon", "Nice"}
    assert not named("We had a nice time in Lyon, then split; Nice was next.") & {"nice", "split"}
    assert named("a nice time in lyon") == {"nice", "lyon"}  # nobody writes capitals here
    assert named("A nice time in lyon") >= {"nice", "lyon"}  # every sentence begins with one
    assert "東京" in named("We met in Lyon and 東京")
