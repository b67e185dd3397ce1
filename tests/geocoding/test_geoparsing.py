"""A corpus of toponyms in context."""

import json

import pytest

from fl_jax.core import errors
from fl_jax.geocoding import geoparsing


def test_a_corpus_is_scored(geocoder, tmp_path):
    path = tmp_path / "corpus.jsonl"
    text = "Flights from Berlin to Toronto, Canada."
    toponyms = [{"start": 13, "end": 19, "lat": 52.52, "lon": 13.4},
                {"start": 23, "end": 30, "lat": 43.7, "lon": -79.4}]  # fmt: skip
    path.write_text(json.dumps({"text": text, "toponyms": toponyms}) + "\n")
    documents = geoparsing.read(path)
    assert geoparsing.context(documents[0], documents[0].toponyms[1]).startswith("Toronto, ")
    found = geoparsing.score(geocoder, documents)
    assert found["toponyms"] == 2 and 0 <= found["acc@161"] <= 1
    apart = {"text": "Lyon\u2028Paris", "toponyms": []}
    path.write_text(json.dumps(apart, ensure_ascii=False) + "\n", "utf-8-sig")
    assert [d.text for d in geoparsing.read(path)] == ["Lyon\u2028Paris"]
    path.write_text('{"text": "a", "toponyms": [{"start": 0, "end": 5, "lat": 0, "lon": 0}]}')
    with pytest.raises(errors.DataError, match="outside"):
        geoparsing.read(path)
    path.write_text('{"text": 1}')
    with pytest.raises(errors.DataError, match="line 1"):
        geoparsing.read(path)
    path.write_text(
        '{"text": "a", "toponyms": [{"start": Infinity, "end": 5, "lat": 0, "lon": 0}]}'
    )
    with pytest.raises(errors.DataError, match="line 1"):
        geoparsing.read(path)
    path.write_bytes(b'{"text": "\xe9", "toponyms": []}')
    with pytest.raises(errors.DataError, match="not UTF-8"):
        geoparsing.read(path)
