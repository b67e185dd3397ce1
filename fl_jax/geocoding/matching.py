"""Which runs of a text's words are names, and which regions are named beside which of them."""

from typing import NamedTuple

import numpy as np

from fl_jax.geocoding import forms, words
from fl_jax.geocoding.gazetteer import Gazetteer

LONGEST = 6  # words of a name
CHARACTERS = 18  # of a name in a script without spaces
WHOLE = 40  # words up to which a whole text may be one name


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
        common: (runs,) bool, whether a run of one word is too common to be taken for a place.
    """
    a, b = gazetteer.place_index.find(hashes)
    c, d = gazetteer.region_index.find(hashes)
    matches = []
    for n in np.flatnonzero((b > a) | (d > c)):
        first, size, _ = runs[n]
        across = found[first].segment != found[first + size - 1].segment
        rows = gazetteer.place_index.rows[a[n] : b[n]]
        if size == 1 and len(found) > 1 and (common[n] or len(found[first].folded) < 2):
            rows = rows[:0]
        regions = gazetteer.region_index.rows[c[n] : d[n]]
        if across:
            regions = regions[:0]
        if len(rows) or len(regions):
            matches.append(Match(first, size, rows, regions, int(n), across))
    return matches + _codes(gazetteer, text, found) + _grown(gazetteer, found, matches)


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


class Context:
    """The regions that a text names, each with where: what other names may be told by.

    A name does not tell itself (Florida in Uruguay lies in a division of that name), and a
    region's name within a longer name is none (Santiago de Compostela names no Santiago).

    Args:
        gazetteer: regions.
        parent: (regions,) country of each division, -1 for countries.
        matches: of the text.
    """

    def __init__(self, gazetteer: Gazetteer, parent: np.ndarray, matches: list[Match]):
        self.gazetteer, self.parent = gazetteer, parent
        spans = {(m.first, m.after) for m in matches if not m.across}
        longer = lambda m: any(a <= m.first and m.after <= b and b - a > m.size for a, b in spans)
        self.named = [m for m in matches if len(m.regions) and not longer(m)]
        self.telling = {
            (region.first, region.after)
            for region in self.named
            for match in matches
            if len(match.rows) and not longer(match) and _apart(match, region)
            if self._agrees(match.rows >> 1, region.regions).any()
        }

    def fit(self, match: Match) -> "Fit":
        """How the places of a name fit the regions that are named beside it."""
        places = match.rows >> 1
        country, division = self.gazetteer.country[places], self.gazetteer.admin1[places]
        found = Fit(*np.zeros((6, len(places)), bool))
        for region in self.named:
            if not _apart(region, match):
                continue
            code = region.regions
            countries = code[code < self.gazetteer.countries]
            divisions = code[code >= self.gazetteer.countries]
            own, more = _among(country, countries), _among(division, divisions)
            implied = _among(country, self.parent[divisions])
            # Georgia is a country and a division: a place in either one differs from neither.
            found.country[:] |= own
            found.division[:] |= more
            found.implied[:] |= implied
            found.not_country[:] |= bool(len(countries)) & ~(own | more)
            found.not_division[:] |= bool(len(divisions)) & ~(own | more)
            found.not_implied[:] |= bool(len(divisions)) & ~(own | implied)
        return found

    def countries_beside(self, match: Match) -> set[int]:
        """The countries that are named beside a name."""
        beside = [m.regions for m in self.named if _apart(m, match)]
        return {int(r) for regions in beside for r in regions if r < self.gazetteer.countries}

    def _agrees(self, places, regions):
        country, division = self.gazetteer.country[places], self.gazetteer.admin1[places]
        return _among(country, regions) | _among(division, regions)


def _apart(a: Match, b: Match) -> bool:
    return a.after <= b.first or b.after <= a.first


def _among(values, few) -> np.ndarray:
    """np.isin, which takes ten times as long for so few."""
    return (values[:, None] == few[None]).any(axis=1)
