"""Every place that a paragraph names."""

from typing import NamedTuple

import numpy as np

from fl_jax.core import errors
from fl_jax.geocoding import evidence
from fl_jax.geocoding.geocoder import Geocoder

LEAST = 0.05  # attention to a name below which it is taken for no place


class Mention(NamedTuple):
    """A place named in a text."""

    start: int  # characters
    end: int
    row: int  # of the gazetteer
    probability: float  # that this name means this place, given that it means one of its bearers


def mentions(geocoder: Geocoder, text: str, *, least: float = 0.2) -> list[Mention]:
    """The places that a text names, with the offsets of the names; longest names first win.

    Args:
        geocoder: whose network weighs the bearers of a name by the words around it.
        text: of any length; long ones are read in windows of sentences.
        least: probability below which no bearer of a name is taken.

    Raises:
        DataError: what is no string.
    """
    if not isinstance(text, str):
        raise errors.DataError(f"a text is a string, got {type(text).__name__}.")
    found: list[Mention] = []
    for offset, part in _windows(text):
        data, encoded = geocoder.encode([part])
        pointer = np.asarray(encoded.pointer)[0, : evidence.SPOTS]
        weights = np.asarray(encoded.weights)[0][: evidence.SPOTS]
        rows, spans = data.evidence.place[0], data.evidence.span[0]
        there = rows >= 0
        for span in {tuple(s) for s in spans[: evidence.SPOTS][there].tolist()}:
            own = there & (spans[: evidence.SPOTS] == span).all(1)
            scores = np.exp(pointer[own] - pointer[own].max())
            scores /= scores.sum()
            best = int(np.argmax(scores))
            total = float(np.exp(pointer[own]).sum() + weights[own].sum())
            if scores[best] >= least and total >= LEAST:
                row = int(rows[own][best])
                a, b = span
                found.append(Mention(a + offset, b + offset, row, float(scores[best])))
    found.sort(key=lambda m: (m.start - m.end, m.start))
    kept: list[Mention] = []
    for mention in found:
        if all(mention.end <= k.start or k.end <= mention.start for k in kept):
            kept.append(mention)
    return sorted(kept)


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
