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
