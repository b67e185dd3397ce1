"""How often words are meant as places: counts of texts in which it is known.

"Nice" is a city, a word, and in every second text about France the former; "of" is a town in
Turkey and never meant. Counts of runs of words, of single words within names, and of the words
before and behind a name, each as (meant as a place, meant otherwise).
"""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from fl_jax.geocoding import words

# What is counted: a name as it is written small, and with a capital; a word of a name; the word
# before a name, and the one behind it.
SMALL, CAPITAL, WORD, BEFORE, BEHIND = range(5)
_MARKS = ("", "^", "*", "<", ">")
EDGE = "|"  # stands for the word beyond the end of a sentence


class Usage(NamedTuple):
    """The counts, by hash."""

    hashes: np.ndarray  # (entries,) int64, sorted
    place: np.ndarray  # (entries,) float32
    other: np.ndarray  # (entries,) float32

    def counts(self, hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(meant as a place, meant otherwise) of each hash, 0 where it is not known."""
        hashes = np.asarray(hashes, np.int64)
        if not len(self.hashes):
            return np.zeros(hashes.shape), np.zeros(hashes.shape)
        at = np.minimum(np.searchsorted(self.hashes, hashes), len(self.hashes) - 1)
        known = self.hashes[at] == hashes
        return np.where(known, self.place[at], 0.0), np.where(known, self.other[at], 0.0)


def nothing() -> Usage:
    """Of no texts."""
    return Usage(np.zeros(0, np.int64), np.zeros(0, np.float32), np.zeros(0, np.float32))


def mark(kind: int, folded: str | list[str]) -> int:
    """The hash of an entry: of folded words and what they are to a name."""
    listed = [folded] if isinstance(folded, str) else folded
    return words.key([_MARKS[kind], *listed] if kind else listed)


def count(entries: Iterable[tuple[int, bool]]) -> Usage:
    """The table of (hash, whether it was meant as a place)."""
    found = Counter(entries)
    hashes = np.array(sorted({h for h, _ in found}), np.int64)
    column = lambda meant: np.array([found[int(h), meant] for h in hashes], np.float32)
    return Usage(hashes, column(True), column(False))
