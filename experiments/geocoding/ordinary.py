"""Texts of the data folder whose words are words: sentences that name no place, and prose."""

import itertools
from typing import NamedTuple

from fl_jax.data import files, sources


class Ordinary(NamedTuple):
    """What `placehood.fit` learns the words of sentences from; empty where there is no data."""

    placeless: list[str]
    prose: list[str]


def stories() -> list[str]:
    """Sentences of XCOPA in eleven languages, of daily life, every sixth; none without its data."""
    folder = sources.folder("xcopa")
    if folder is None:
        return []
    records = files.records(folder / "xcopa.jsonl.gz", "premise", texts=True)
    return [record["premise"] for record in itertools.islice(records, 0, None, 6)]


def load() -> Ordinary:
    """The Universal Declaration of Human Rights in 50 languages, and Shakespeare's speeches.

    The Declaration names no city, and no country but in "United Nations".
    """
    placeless, prose = [], []
    folder = sources.folder("udhr")
    if folder is not None:
        articles = files.records(folder / "udhr_bloom_langs.jsonl.gz", "text", texts=True)
        placeless = [article["text"] for article in articles]
    folder = sources.folder("tinyshakespeare")
    if folder is not None:
        speeches = files.text(folder / "input.txt.gz").split("\n\n")
        prose = [speech for speech in speeches if speech.strip()]
    return Ordinary(placeless, prose)
