"""The standard geoparsing protocol: toponyms in context, scored by distance.

A corpus is JSON lines, one document a line, so that LGL, TR-News, GeoVirus, GeoWebNews and
WikToR can be written as it:

    {"text": "... Paris, Texas, ...",
     "toponyms": [{"start": 4, "end": 9, "lat": 33.66, "lon": -95.56}]}

`start` and `end` count characters. The names are given (resolution with oracle toponyms, the
protocol of the published tables); each is resolved with its sentence as context.
"""

import json
import pathlib
from typing import NamedTuple

import numpy as np

from fl_jax.core import errors
from fl_jax.geocoding import metrics, sphere
from fl_jax.geocoding.geocoder import Geocoder

WINDOW = 150  # characters of context on either side of a name


class Toponym(NamedTuple):
    """A name in a text and where it is."""

    start: int
    end: int
    lat: float
    lon: float


class Document(NamedTuple):
    """A text and its names."""

    text: str
    toponyms: tuple[Toponym, ...]


def read(path) -> list[Document]:
    """The documents of a corpus.

    Raises:
        DataError: no such file, or a line that is no document, by its number.
    """
    if not pathlib.Path(path).is_file():
        raise errors.DataError(f"{path} is not there.")
    found = []
    try:
        lines = pathlib.Path(path).read_text("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise errors.DataError(f"{path} is not UTF-8 ({error}); convert it first.") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            body = json.loads(line)
            text = body["text"]
            toponyms = tuple(
                Toponym(int(t["start"]), int(t["end"]), float(t["lat"]), float(t["lon"]))
                for t in body["toponyms"]
            )
            sound = isinstance(text, str) and all(
                0 <= t.start < t.end <= len(text) and -90 <= t.lat <= 90 and -180 <= t.lon <= 180
                for t in toponyms
            )
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise errors.DataError(f"line {number} is no document ({error!r:.80}).") from None
        if not sound:
            raise errors.DataError(
                f"line {number}: a toponym lies outside its text, or its coordinates off the Earth."
            )
        found.append(Document(text, toponyms))
    return found


def context(document: Document, toponym: Toponym) -> str:
    """The name first, and then what stands around it: what the geocoder is asked."""
    text = document.text
    name = text[toponym.start : toponym.end]
    before = text[max(toponym.start - WINDOW, 0) : toponym.start]
    after = text[toponym.end : toponym.end + WINDOW]
    return f"{name}, {before}{name}{after}".replace("\n", " ")


def score(geocoder: Geocoder, documents: list[Document]) -> dict[str, float]:
    """Accuracy@161, mean, median and AUC in km over all toponyms.

    A name that is not resolved counts as half the Earth away, as the published tables have it.
    """
    asked = [(d, t) for d in documents for t in d.toponyms]
    answers = geocoder.geocode([context(d, t) for d, t in asked], residual=0.01)
    km = [
        sphere.distance(a.lat, a.lon, t.lat, t.lon) if a.found else sphere.HALF_TURN_KM - 1
        for a, (_, t) in zip(answers, asked, strict=True)
    ]
    if not km:
        raise errors.DataError("the corpus has no toponyms.")
    found = metrics.distances(np.array(km, np.float64))
    return {k: found[k] for k in ("acc@161", "mean", "median", "auc")} | {"toponyms": len(km)}
