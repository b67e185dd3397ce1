"""Every place that a paragraph names."""

from typing import NamedTuple

import numpy as np

from fl_jax.core import errors
from fl_jax.geocoding import evidence
from fl_jax.geocoding.geocoder import Geocoder

LEAST = 0.02  # attention to a name below which it is taken for no place


class Mention(NamedTuple):
    """A place named in a text."""

    start: int  # characters
    end: int
    row: int  # of the gazetteer
    probability: float  # that this name means this place, given that it means one of its bearers


def mentions(geocoder: Geocoder, text: str, *, least: float = 0.2) -> list[Mention]:
    """The places that a text names, with the offsets of the names; longest names first win.

    Where names begin with capitals, a word without one is none ("heavy rain hit Bangkok": Rain
    and Hit are towns).

    Args:
        geocoder: whose network weighs the bearers of a name by the words around it.
        text: of any length; long ones are read in windows of sentences.
        least: probability below which no bearer of a name is taken.

    Raises:
        DataError: what is no string.
    """
    if not isinstance(text, str):
        raise errors.DataError(f"a text is a string, got {type(text).__name__}.")
    found = [
        m._replace(start=m.start + offset, end=m.end + offset)
        for offset, part in _windows(text)
        for m in _inside(geocoder, part, least)
    ]
    found.sort(key=lambda m: (m.start - m.end, m.start))
    kept: list[Mention] = []
    for mention in found:
        if all(mention.end <= k.start or k.end <= mention.start for k in kept):
            kept.append(mention)
    return sorted(kept)


def _inside(geocoder, part: str, least: float) -> list[Mention]:
    """The mentions in a window, which may lie inside one another."""
    data, encoded = geocoder.encode([part])
    pointer = np.asarray(encoded.pointer)[0, : evidence.SPOTS]
    weights = np.asarray(encoded.weights)[0][: evidence.SPOTS]
    rows, spans = data.evidence.place[0], data.evidence.span[0][: evidence.SPOTS]
    there = rows >= 0
    names = {tuple(s) for s in spans[there].tolist()}
    capitals = any(part[start].isupper() for start, _ in names if start > 0)
    found = []
    for start, end in names:
        if capitals and _small(part[start:end]):
            continue
        own = there & (spans == (start, end)).all(1)
        scores = np.exp(pointer[own] - pointer[own].max())
        scores /= scores.sum()
        best = int(np.argmax(scores))
        total = float(np.exp(pointer[own]).sum() + weights[own].sum())
        if scores[best] >= least and total >= LEAST:
            found.append(Mention(start, end, int(rows[own][best]), float(scores[best])))
    return found


def _small(name: str) -> bool:
    """Whether a name is written without capitals, in a script that has them."""
    return name == name.lower() != name.upper()


def _windows(text: str, size: int = 300):
    """(offset, part) of a text cut at ends of sentences into parts of about `size` characters."""
    start = 0
    while start < len(text):
        end = min(start + size, len(text))
        if end < len(text):
            cuts = [
                text.rfind(mark, start + size // 3, end) for mark in (". ", "\n", "。", ", ", " ")
            ]
            end = next((cut + 1 for cut in cuts if cut > 0), end)
        yield start, text[start:end]
        start = end
