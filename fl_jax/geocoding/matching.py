"""Which runs of a text's words are names, and which regions are named beside which of them."""

import itertools
from typing import NamedTuple

import numpy as np

from fl_jax.geocoding import forms, words
from fl_jax.geocoding.gazetteer import Gazetteer

LONGEST = 6  # words of a name
CHARACTERS = 18  # of a name in a script without spaces
WHOLE = 40  # words up to which a whole text may be one name
CITY = 200_000  # people of a place whose name no word is too common for
REGIONS = 64  # names of regions that other names are told by


class Match(NamedTuple):
    """A run of words that names something."""

    first: int
    size: int
    rows: np.ndarray  # 2 * place + (1 for an alternate name)
    regions: np.ndarray
    gram: int  # which of the grams it is, -1 for a form of one
    across: bool  # goes across a comma or a bracket

    @property
    def after(self) -> int:
        """The first word behind it."""
        return self.first + self.size


def grams(found: list[words.Word]) -> list[tuple[int, int, int]]:
    """(first, size, hash) of every run that is looked up; the whole text is one of them."""
    runs = words.grams(found, LONGEST, characters=CHARACTERS, across=True)
    if len(found) <= WHOLE and all(size < len(found) for _, size, _ in runs):
        runs.append((0, len(found), words.key([w.folded for w in found])))
    return runs


def find(
    gazetteer: Gazetteer, text: str, found: list[words.Word], runs, hashes: np.ndarray, common
) -> list[Match]:
    """The runs that name places or regions.

    Args:
        gazetteer: the names.
        text: that the words are of.
        found: its words.
        runs, hashes: from `grams`.
        common: (runs,) bool, whether a run of one word is too common to be taken for a place that
            is no city.
    """
    a, b = gazetteer.place_index.find(hashes)
    c, d = gazetteer.region_index.find(hashes)
    matches = []
    for n in np.flatnonzero((b > a) | (d > c)):
        first, size, _ = runs[n]
        across = found[first].segment != found[first + size - 1].segment
        rows = gazetteer.place_index.rows[a[n] : b[n]]
        if size == 1 and len(found) > 1:
            short = len(found[first].folded) < 2
            if short or (common[n] and not _city(gazetteer, rows)):
                rows = rows[:0]
        regions = gazetteer.region_index.rows[c[n] : d[n]]
        if across:
            regions = regions[:0]
        if len(rows) or len(regions):
            matches.append(Match(first, size, rows, regions, int(n), across))
    return matches + _codes(gazetteer, text, found) + _grown(gazetteer, found, matches)


def _city(gazetteer, rows) -> bool:
    """Whether a place of `CITY` people or more has this for its first name: Berlin, not "the"."""
    first = rows[(rows & 1) == 0] >> 1
    return bool((gazetteer.population[first] >= CITY).any())


def _codes(gazetteer, text, found) -> list[Match]:
    """Letters that stand for a division behind a comma: Paris, TX."""
    out = []
    for n in range(1, len(found)):
        code = text[found[n].start : found[n].end]
        if len(code) == 2 and code.isupper() and found[n].segment != found[n - 1].segment:
            regions = gazetteer.codes.get(code)
            if regions:
                out.append(Match(n, 1, _NONE, np.array(regions, np.int32), -1, False))
    return out


def _grown(gazetteer, found, matches) -> list[Match]:
    """Names in words that nothing is known of, without what has grown onto them."""
    covered = {n for m in matches for n in range(m.first, m.after)}
    folded = [w.folded for w in found]
    spans, hashes = [], []
    for n, word in enumerate(folded):
        if n in covered or word.isascii() or words.unspaced(word):
            continue
        for form in forms.before(word):
            for end in range(n + 1, min(n + LONGEST, len(found)) + 1):
                if found[end - 1].segment != found[n].segment:
                    break
                spans.append((n, end))
                hashes.append(words.key([form, *folded[n + 1 : end]]))
        for form in forms.after(word):
            for start in range(n, max(n - LONGEST, -1), -1):
                if found[start].segment != found[n].segment:
                    break
                spans.append((start, n + 1))
                hashes.append(words.key([*folded[start:n], form]))
    if not hashes:
        return []
    wanted = np.array(hashes, np.int64)
    a, b = gazetteer.place_index.find(wanted)
    c, d = gazetteer.region_index.find(wanted)
    out = {}
    for n in np.flatnonzero((b > a) | (d > c)):
        if spans[n] not in out:  # forms come the likeliest first
            start, end = spans[n]
            rows = gazetteer.place_index.rows[a[n] : b[n]]
            regions = gazetteer.region_index.rows[c[n] : d[n]]
            out[spans[n]] = Match(start, end - start, rows, regions, -1, False)
    return list(out.values())


_NONE = np.zeros(0, np.int32)


class Fit(NamedTuple):
    """Of each place of a name: which regions beside the name it lies in, which not; bool."""

    country: np.ndarray
    division: np.ndarray
    implied: np.ndarray  # a division of its country is named
    not_country: np.ndarray  # a country is named that it does not lie in
    not_division: np.ndarray
    not_implied: np.ndarray


class Cover:
    """Which runs of words lie within longer ones of some runs; asked in constant time.

    Args:
        spans: (first word, word behind the last) of the longer ones.
    """

    def __init__(self, spans):
        reach = [0] * (max((after for _, after in spans), default=0) + 1)
        for first, after in spans:
            reach[first] = max(reach[first], after)
        # word -> the farthest end of the runs that begin at it or before
        self._reach = list(itertools.accumulate(reach, max))

    def longer(self, first: int, after: int) -> bool:
        """Whether one of them holds this run and more."""
        last = len(self._reach) - 1
        before = first > 0 and self._reach[min(first - 1, last)] >= after
        return before or self._reach[min(first, last)] > after


class Context:
    """The regions that a text names, each with where: what other names may be told by.

    A name does not tell itself (Florida in Uruguay lies in a division of that name), and a
    region's name within a longer name is none (Santiago de Compostela names no Santiago). Of a
    text that names more than `REGIONS` regions, the others tell nothing.

    Args:
        gazetteer: regions.
        parent: (regions,) country of each division, -1 for countries.
        matches: of the text.
    """

    def __init__(self, gazetteer: Gazetteer, parent: np.ndarray, matches: list[Match]):
        self.gazetteer = gazetteer
        cover = Cover([(m.first, m.after) for m in matches if not m.across])
        free = [m for m in matches if not cover.longer(m.first, m.after)]
        named = [m for m in free if len(m.regions)]
        self.telling = self._telling(named, [m for m in free if len(m.rows)])
        # One name may stand in many places. It is beside another name if its first occurrence
        # ends before that, or its last one begins behind it.
        groups: dict[tuple[int, ...], list[Match]] = {}
        for match in named:
            own = tuple(match.regions.tolist())
            if own in groups or len(groups) < REGIONS:
                groups.setdefault(own, []).append(match)
        self._first_end = np.array([min(m.after for m in g) for g in groups.values()], np.int64)
        self._last_start = np.array([max(m.first for m in g) for g in groups.values()], np.int64)
        # The column behind the last region stands for places of no known one, index -1.
        self._names = np.zeros((len(groups), len(parent) + 1), bool)
        self._above = np.zeros_like(self._names)
        self._codes = [np.array(own) for own in groups]
        for row, codes in enumerate(self._codes):
            self._names[row, codes] = True
            above = parent[codes]
            self._above[row, above[above >= 0]] = True
        countries = gazetteer.countries
        self._countries = self._names[:, :countries].any(1)
        self._divisions = self._names[:, countries:].any(1)

    def fit(self, match: Match) -> "Fit":
        """How the places of a name fit the regions that are named beside it."""
        places, beside = match.rows >> 1, self._beside(match)
        country, division = self.gazetteer.country[places], self.gazetteer.admin1[places]
        names = self._names[beside]
        own, more = names[:, country], names[:, division]
        implied = self._above[beside][:, country]
        # Georgia is a country and a division: a place in either one differs from neither.
        lies = own | more
        countries, divisions = self._countries[beside, None], self._divisions[beside, None]
        rows = (own, more, implied, countries & ~lies, divisions & ~lies,
                divisions & ~(own | implied))  # fmt: skip
        return Fit(*(row.any(0) for row in rows))

    def countries_beside(self, match: Match) -> set[int]:
        """The countries that are named beside a name."""
        beside = [self._codes[n] for n in np.flatnonzero(self._beside(match))]
        return {int(r) for codes in beside for r in codes if r < self.gazetteer.countries}

    def _beside(self, match) -> np.ndarray:
        return (self._first_end <= match.first) | (self._last_start >= match.after)

    def _telling(self, regions, names) -> set[tuple[int, int]]:
        """The names of regions that a place of another name lies in, as (first, after)."""
        first_end = np.full(len(self.gazetteer.regions), np.iinfo(np.int64).max)
        last_start = np.full(len(self.gazetteer.regions), -1)
        for match in names:
            for column in (self.gazetteer.country, self.gazetteer.admin1):
                own = column[match.rows >> 1]
                own = own[own >= 0]
                first_end[own] = np.minimum(first_end[own], match.after)
                last_start[own] = np.maximum(last_start[own], match.first)
        return {
            (m.first, m.after)
            for m in regions
            if (first_end[m.regions] <= m.first).any() or (last_start[m.regions] >= m.after).any()
        }
