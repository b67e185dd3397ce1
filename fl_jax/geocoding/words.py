"""Words of a text in any script, with their offsets, folded so that spellings meet."""

import functools
import hashlib
import re
import unicodedata
from collections.abc import Collection, Mapping, Set
from typing import Any, NamedTuple

import numpy as np

from fl_jax.core import errors

# Letters that have no decomposition and yet are spelt without their mark.
_PLAIN = str.maketrans("øłđħıŧæœþðŀ", "oldhitaotdl")
_MARKS = re.compile("[\u0300-\u036f\u064b-\u065f\u0670\u0591-\u05c7]")
# Scripts that write no spaces: every character is a word of its own.
_ALONE = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff"
_ALONE += "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
# Vowel signs and other marks that belong to the letter before them.
_SIGNS = "\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0670\u0900-\u0903\u093a-\u094f\u0951-\u0957"
_SIGNS += (
    "\u0962\u0963\u0980-\u0983\u09bc-\u09d7\u0a01-\u0a03\u0a3c-\u0a51\u0a70\u0a71\u0abc-\u0acd"
)
_SIGNS += (
    "\u0b3c-\u0b57\u0bbe-\u0bd7\u0c3e-\u0c56\u0cbc-\u0cd6\u0d3e-\u0d57\u0dca-\u0df3\u200c\u200d"
)
_SIGNS += (
    "\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ecd\u102b-\u103e\u17b4-\u17d3"
)
_SIGNS += "\u3099\u309a"
_WORD = re.compile(f"[{_ALONE}][{_SIGNS}]*|(?:(?![{_ALONE}])[^\\W_][{_SIGNS}]*)+")
_UNSPACED = re.compile(f"[{_ALONE}]")
_BREAK = re.compile('[,;:()\\[\\]{}"“”„«»!?、。，；：（）،؛\n]|\\.\\s')


class Word(NamedTuple):
    """One word of a text."""

    folded: str
    start: int  # character offset
    end: int
    segment: int  # counts commas, brackets and the like before it: no name goes across one


def split(text: str) -> list[Word]:
    """The words of a text.

    Example:
        >>> [w.folded for w in split("São Paulo, 東京 (L'Aquila)")]
        ['sao', 'paulo', '東', '京', 'l', 'aquila']
    """
    found, segment, last = [], 0, 0
    for m in _WORD.finditer(text):
        segment += _BREAK.search(text, last, m.start()) is not None
        last = m.end()
        found.append(Word(fold(m.group()), m.start(), last, segment))
    return found


@functools.lru_cache(maxsize=200_000)
def fold(text: str) -> str:
    """Lower case, without diacritics; what NFKD calls compatible becomes one.

    Example:
        >>> fold("Łódź"), fold("STRAßE")
        ('lodz', 'strasse')
    """
    if text.isascii():
        return text.lower()
    plain = _MARKS.sub("", unicodedata.normalize("NFKD", text.casefold()).translate(_PLAIN))
    return unicodedata.normalize("NFC", plain)


def key(words: list[str] | tuple[str, ...]) -> int:
    """A 63-bit hash of folded words in a row, the same in every process."""
    digest = hashlib.blake2b(" ".join(words).encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def name_key(name: str) -> int:
    """The hash of a name's words; 0 where it has none."""
    found = [w.folded for w in split(name)]
    return key(found) if found else 0


def unspaced(text: str) -> bool:
    """Whether it begins in a script that writes no spaces.

    Example:
        >>> unspaced("กรุงเทพ"), unspaced("서울")
        (True, False)
    """
    return _UNSPACED.match(text) is not None


def grams(
    words: list[Word], longest: int, *, characters: int | None = None, across: bool = False
) -> list[tuple[int, int, int]]:
    """(first word, number of words, hash) of the runs of words that may be a name.

    Args:
        words: of a text.
        longest: words of a run.
        characters: of a run in scripts without spaces, where each is a word; else `longest`.
        across: whether runs may go on behind a comma or a bracket.
    """
    folded = [w.folded for w in words]
    cost = [longest / (characters or longest) if unspaced(f) else 1.0 for f in folded]
    found = []
    for at, word in enumerate(words):
        room = longest + 1e-6
        for end in range(at, len(words)):
            room -= cost[end]
            if room < 0 or not (across or words[end].segment == word.segment):
                break
            found.append((at, end + 1 - at, key(folded[at : end + 1])))
    return found


class Index:
    """Sorted hashes and what stands behind each: many rows to a hash."""

    def __init__(self, hashes: np.ndarray, rows: np.ndarray):
        order = np.argsort(hashes, kind="stable")  # rows of one hash keep their order
        self.hashes = np.asarray(hashes, np.int64)[order]
        self.rows = np.asarray(rows, np.int32)[order]

    def find(self, hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(first, after the last) place in `rows` of each hash."""
        wanted = np.asarray(hashes, np.int64)
        return (
            np.searchsorted(self.hashes, wanted, "left"),
            np.searchsorted(self.hashes, wanted, "right"),
        )


def placed(what: str, texts: Any, lat: Any, lon: Any) -> list[str]:
    """What should be texts with a place for each, as a list.

    Args:
        what: that needs them.
        texts: any.
        lat, lon: (texts,) degrees.

    Raises:
        DataError: what is no list of strings, no text at all, or another number of places.
    """
    found = strings(texts)
    if not len(found) == len(lat) == len(lon) > 0:
        raise errors.DataError(
            f"{what} needs texts with a place for each, got {len(found)} texts, {len(lat)}"
            f" latitudes and {len(lon)} longitudes."
        )
    return found


def strings(texts: Any) -> list[str]:
    """What should be texts, as a list.

    Raises:
        DataError: what is no list of strings.

    Example:
        >>> strings(("Paris", "Lyon"))
        ['Paris', 'Lyon']
    """
    listed = isinstance(texts, Collection) and getattr(texts, "ndim", 1) > 0
    if not listed or isinstance(texts, str | bytes | Mapping | Set):  # "Paris" holds strings, too
        raise errors.DataError(
            f"texts come as a list of strings, one text as [text]; got {type(texts).__name__}."
        )
    found = list(texts)
    other = next((n for n, text in enumerate(found) if not isinstance(text, str)), None)
    if other is not None:
        raise errors.DataError(
            f"texts come as a list of strings, but text {other} is {type(found[other]).__name__}."
        )
    return found
