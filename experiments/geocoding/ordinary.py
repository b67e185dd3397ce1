"""Texts of the data folder whose words are words: sentences that name no place, and prose."""

import gzip
import itertools
import json
from typing import NamedTuple

from fl_jax.data import sources


class Ordinary(NamedTuple):
    """What `placehood.fit` learns the words of sentences from; empty where there is no data."""

    placeless: list[str]
    prose: list[str]


def stories() -> list[str]:
    """Sentences of XCOPA in eleven languages, of daily life, every sixth; none without its data."""
    folder = sources.folder("xcopa")
    if folder is None:
        return []
    with gzip.open(folder / "xcopa.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line)["premise"] for line in itertools.islice(file, 0, None, 6)]


def load() -> Ordinary:
    """The Universal Declaration of Human Rights in 50 languages, and Shakespeare's speeches.

    The Declaration names no city, and no country but in "United Nations".
    """
    placeless, prose = [], []
    folder = sources.folder("udhr")
    if folder is not None:
        with gzip.open(folder / "udhr_bloom_langs.jsonl.gz", "rt", encoding="utf-8") as file:
            placeless = [json.loads(line)["text"] for line in file]
    folder = sources.folder("tinyshakespeare")
    if folder is not None:
        with gzip.open(folder / "input.txt.gz", "rt", encoding="utf-8") as file:
            prose = [speech for speech in file.read().split("\n\n") if speech.strip()]
    return Ordinary(placeless, prose)
