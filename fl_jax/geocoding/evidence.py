"""What is known about the words of a text, before any network: matches as features.

Every run of words is looked up among the names of places, of regions, and among the phrases of
the training texts. What is found becomes a row of evidence: a distribution over the leaves (a
place means its leaf and a little of those beside it, a region the leaves of its places, a
phrase those of the texts that have it) and features that say how it was found. How much each
row counts, and against which, is for the network to learn.
"""

from typing import NamedTuple

import numpy as np

from fl_jax.geocoding import cells, matching, phrases, s2, spatial, words
from fl_jax.geocoding.gazetteer import Gazetteer, region_weights

SPOTS, REGIONS, PHRASES = 12, 4, 8
DENSE = SPOTS + REGIONS
ROWS = DENSE + PHRASES
CANDIDATES = SPOTS + PHRASES  # rows that an answer may be the point of: all but regions
PER_NAME = 5  # places of one name
COMMON = 0.004  # a single word in more of the training texts than this is taken for no name
NAMES = 256  # names that are weighed; of more, those that can be worth most
KERNEL_KM = 30.0  # how far beside its leaf a place may be meant
FEATURES = (
    "place", "alternate", "country", "division", "phrase", "moved", "population", "share",
    "homonyms", "words", "letters", "whole_segment", "first", "after_comma", "before_comma",
    "country_agrees", "country_differs", "division_agrees", "division_differs", "inside_longer",
    "capital", "frequency", "support", "gain", "whole_text", "rank", "largest",
    "country_implied", "implied_differs", "share_there", "tells_another", "form", "across",
    "unknown",
)  # fmt: skip
_COLUMN = {name: n for n, name in enumerate(FEATURES)}


class Knowledge(NamedTuple):
    """The tables that texts are looked up in, for one partition."""

    gazetteer: Gazetteer
    phrases: phrases.Phrases
    partition: cells.Partition
    place_leaf: np.ndarray  # (places,) int32
    table: np.ndarray  # (leaves + regions, leaves) float32: what a place or region says
    prior: np.ndarray  # (leaves,) float32
    texts: int  # that the phrases were learned from
    parent: np.ndarray  # (regions,) int32, the country of each division, -1 for countries


class Row(NamedTuple):
    """Evidence that a text holds, before it becomes numbers."""

    kind: str
    index: int  # of the leaf, region or phrase
    place: int  # row of the gazetteer, -1 where none
    start: int  # characters of the text
    end: int
    point: np.ndarray  # (3,)
    features: np.ndarray  # (len(FEATURES),)


class Arrays(NamedTuple):
    """Evidence of many texts, filled up to fixed sizes."""

    dense: np.ndarray  # (texts, DENSE) int32 rows of `Knowledge.table`
    phrase: np.ndarray  # (texts, PHRASES) int32
    features: np.ndarray  # (texts, ROWS, len(FEATURES)) float32
    points: np.ndarray  # (texts, ROWS, 3) float32
    there: np.ndarray  # (texts, ROWS) bool
    place: np.ndarray  # (texts, SPOTS) int32 row of the gazetteer, -1 where none
    span: np.ndarray  # (texts, ROWS, 2) int32 characters


def knowledge(
    gazetteer: Gazetteer, learned: phrases.Phrases, partition: cells.Partition, prior, texts: int
) -> Knowledge:
    """The tables; regions are spread over leaves as their places are."""
    leaves = len(partition.leaves)
    place_leaf = cells.leaf(partition, gazetteer.lat, gazetteer.lon)
    table = np.zeros((leaves + len(gazetteer.regions), leaves), np.float32)
    near, weight = cells.kernel(partition, KERNEL_KM, 8)
    np.put_along_axis(table[:leaves], near, weight.astype(np.float32), axis=1)
    rows = np.arange(len(gazetteer.names))
    region, leaf, count = region_weights(gazetteer, place_leaf, leaves, rows)
    table[leaves + region, leaf] = count
    total = table[leaves:].sum(1, keepdims=True)
    prior = np.asarray(prior, np.float32)
    table[leaves:] = np.where(total > 0, table[leaves:] / np.maximum(total, 1), prior[None])
    countries = {r.code: n for n, r in enumerate(gazetteer.regions[: gazetteer.countries])}
    divisions = gazetteer.regions[gazetteer.countries :]
    parent = [-1] * gazetteer.countries
    parent += [countries.get(r.code.partition(".")[0], -1) for r in divisions]
    parent = np.array(parent, np.int32)
    return Knowledge(gazetteer, learned, partition, place_leaf, table, prior, texts, parent)


def candidates(rows):
    """The rows (texts, ROWS, ...) that are candidates: (texts, CANDIDATES, ...)."""
    return np.concatenate([rows[:, :SPOTS], rows[:, DENSE:]], axis=1)


def without_own(
    found: Arrays, learned: phrases.Phrases, points: np.ndarray, held_out: np.ndarray
) -> Arrays:
    """The rows as they would be if the phrases had not been learned from these texts.

    Args:
        found: of the texts.
        learned: the phrases.
        points: (texts, 3) where the texts are.
        held_out: (texts,) which of them the phrases were learned from.
    """
    total = learned.total[found.phrase][:, :, None].astype(np.float64)
    mean = found.points[:, DENSE:]
    rest = (mean * total - points[:, None]) / np.maximum(total - 1, 1)
    changed = found.points.copy()
    changed[:, DENSE:] = np.where(held_out[:, None, None] & (total > 1), rest, mean)
    return found._replace(points=changed)


def look_up(
    known: Knowledge,
    text: str,
    *,
    held_out: bool = False,
    weights: np.ndarray | None = None,
    name: tuple[int, int] | None = None,
) -> list[Row]:
    """The evidence of one text, spots first, then regions, then phrases, the best of each.

    Args:
        known: the tables.
        text: any.
        held_out: the text is one of those that the phrases were learned from.
        weights: (places,) how much likelier than by its people each place is meant; those of 0
            are not looked at.
        name: (start, end) characters of the one name whose bearers are looked at; None: of all.
    """
    found = words.split(text)
    if not found:
        return []
    grams = matching.grams(found)
    hashes = np.array([h for _, _, h in grams], np.int64)
    learned = known.phrases
    whole = [found[f].segment == found[f + size - 1].segment for f, size, _ in grams]
    phrase = np.where(whole, learned.find(hashes), -1)  # none was learned across a comma
    support = np.where(phrase >= 0, learned.total[phrase] if len(learned.total) else 0, 0)
    support = support - (held_out & (phrase >= 0))
    common = support > max(COMMON * known.texts, 20)
    matches = matching.find(known.gazetteer, text, found, grams, hashes, common)
    context = _Context(known, text, found, matches, grams, support, weights)
    bearers = matches
    if weights is not None:
        bearers = [m._replace(rows=m.rows[weights[m.rows >> 1] > 0]) for m in matches]
    if name is not None:
        bearers = [m for m in bearers if (found[m.first].start, found[m.after - 1].end) == name]
    places = context.foremost([m for m in bearers if len(m.rows)])
    named = context.foremost([m for m in matches if len(m.regions)])
    spots = [row for match in places for row in context.spots(match)]
    regions = [row for match in named for row in context.regions(match)]
    spots += context.moved(spots)
    spots = _best(spots, SPOTS)
    if spots:
        largest = max(r.features[_COLUMN["population"]] for r in spots)
        for row in spots:
            row.features[_COLUMN["largest"]] = row.features[_COLUMN["population"]] == largest
    return spots + _best(regions, REGIONS) + context.phrases(grams, phrase, held_out)


def arrays(per_text: list[list[Row]], known: Knowledge) -> Arrays:
    """Rows of many texts as arrays for the network."""
    count = len(per_text)
    out = Arrays(
        np.zeros((count, DENSE), np.int32),
        np.zeros((count, PHRASES), np.int32),
        np.zeros((count, ROWS, len(FEATURES)), np.float32),
        np.zeros((count, ROWS, 3), np.float32),
        np.zeros((count, ROWS), bool),
        np.full((count, SPOTS), -1, np.int32),
        np.zeros((count, ROWS, 2), np.int32),
    )
    leaves = len(known.partition.leaves)
    for t, rows in enumerate(per_text):
        used = {"spot": 0, "region": SPOTS, "phrase": DENSE}
        for row in rows:
            at = used[row.kind]
            used[row.kind] += 1
            if row.kind == "phrase":
                out.phrase[t, at - DENSE] = row.index
            else:
                out.dense[t, at] = row.index + (leaves if row.kind == "region" else 0)
            if row.kind == "spot":
                out.place[t, at] = row.place
            out.features[t, at] = row.features
            out.points[t, at] = row.point
            out.there[t, at] = True
            out.span[t, at] = row.start, row.end
    return out


class _Context:
    """One text while it is looked up."""

    def __init__(self, known, text, found, matches, grams, support, weights):
        self.weights = weights
        self.known, self.text, self.words, self.support = known, text, found, support
        self.length = len(text.rstrip())
        self.offsets = spatial.find(text)
        self.regions_named = matching.Context(known.gazetteer, known.parent, matches)
        self.cover = matching.Cover([(m.first, m.after) for m in matches])
        seen = {n for m in matches for n in range(m.first, m.after)}
        seen |= {grams[n][0] for n in np.flatnonzero(support > 0) if grams[n][1] == 1}
        names = [n for n, w in enumerate(found) if text[w.start].isupper()]
        self.unknown = sum(n not in seen for n in names) / max(len(names), 1)

    def foremost(self, matches) -> list:
        """All of them, or of more than `NAMES` those that can be worth most, in their order."""
        if len(matches) <= NAMES:
            return matches
        moved = {offset.anchor for offset in self.offsets}
        people = self.known.gazetteer.population

        def worth(match):  # a part of what `_best` counts, from what costs little
            value = 4 * (self.words[match.first].start in moved) + match.size / 2
            value += np.log10(people[match.rows[0] >> 1] + 1) / 7 if len(match.rows) else 0
            return value - 2 * self.cover.longer(match.first, match.after)

        order = np.argsort([-worth(m) for m in matches], kind="stable")[:NAMES]
        return [matches[n] for n in np.sort(order)]

    def base(self, first, size, support, match=None) -> np.ndarray:
        """Features of a run of words, whatever it names."""
        features = np.zeros(len(FEATURES), np.float32)
        start, end = self.words[first].start, self.words[first + size - 1].end
        before = self.text[max(start - 2, 0) : start].strip()
        after = self.text[end : end + 2].strip()
        opens, closes = start == 0 or before[-1:] in ",(;:", end == self.length
        closes = closes or after[:1] in set(",);:.")
        letter = self.text[start]
        values = {
            "words": size / 4,
            "letters": (end - start) / 16,
            "whole_segment": opens and closes,
            "first": first == 0,
            "after_comma": opens and first > 0,
            "before_comma": closes,
            "inside_longer": self.cover.longer(first, first + size),
            "capital": letter.isupper() or letter.lower() == letter.upper(),
            "frequency": np.log1p(support) / 8,
            "whole_text": size == len(self.words),
            "tells_another": (first, first + size) in self.regions_named.telling,
            "form": match is not None and match.gram < 0,
            "across": match is not None and match.across,
            "unknown": self.unknown,
        }
        for name, value in values.items():
            features[_COLUMN[name]] = value
        return features

    def of(self, match) -> np.ndarray:
        """Features of a match's words."""
        support = self.support[match.gram] if match.gram >= 0 else 0
        return self.base(match.first, match.size, support, match)

    def spots(self, match) -> list[Row]:
        """The places of one name: those that agree with the regions named, then the largest."""
        if not len(match.rows):
            return []
        gazetteer = self.known.gazetteer
        rows, alternate = match.rows >> 1, match.rows & 1
        people = gazetteer.population[rows] + 1.0
        fit = self.regions_named.fit(match)
        likely = people if self.weights is None else people * self.weights[rows]
        agree = fit.country.astype(int) + fit.division
        order = np.lexsort((alternate, -likely, -agree))[:PER_NAME]
        share = likely / likely.sum()
        there = likely * (agree == agree.max())
        there = there / there.sum()
        base = self.of(match)
        start, end = self.words[match.first].start, self.words[match.after - 1].end
        out = []
        for rank, n in enumerate(order):
            features = base.copy()
            values = {
                "alternate" if alternate[n] else "place": 1,
                "population": np.log10(people[n]) / 7,
                "share": share[n],
                "share_there": there[n],
                "homonyms": np.log(len(rows)) / 4,
                "country_agrees": fit.country[n],
                "country_differs": fit.not_country[n],
                "division_agrees": fit.division[n],
                "division_differs": fit.not_division[n],
                "country_implied": fit.implied[n],
                "implied_differs": fit.not_implied[n],
                "rank": rank / 4,
            }
            for name, value in values.items():
                features[_COLUMN[name]] = value
            leaf, row = int(self.known.place_leaf[rows[n]]), int(rows[n])
            out.append(Row("spot", leaf, row, start, end, gazetteer.points[row], features))
        return out

    def regions(self, match) -> list[Row]:
        """The regions of one name."""
        gazetteer, out = self.known.gazetteer, []
        if not len(match.regions):
            return out
        base, countries = self.of(match), self.regions_named.countries_beside(match)
        start, end = self.words[match.first].start, self.words[match.after - 1].end
        for region in match.regions[:PER_NAME]:
            features = base.copy()
            country = region < gazetteer.countries
            features[_COLUMN["country" if country else "division"]] = 1
            features[_COLUMN["homonyms"]] = np.log(len(match.regions)) / 4
            own = gazetteer.regions[region]
            if not country:
                agrees = int(self.known.parent[region]) in countries
                features[_COLUMN["country_agrees"]] = agrees
                features[_COLUMN["country_differs"]] = bool(countries) and not agrees
            point = s2.xyz(own.lat, own.lon)
            out.append(Row("region", int(region), -1, start, end, point, features))
        return out

    def moved(self, spots) -> list[Row]:
        """ "20 km north of X": the places of X, moved there."""
        anchored: dict[int, list[Row]] = {}
        for row in spots:
            anchored.setdefault(row.start, []).append(row)
        pairs = [(o, row) for o in self.offsets for row in anchored.get(o.anchor, ())]
        if not pairs:
            return []
        at = np.array([o.apply(*s2.latlon(row.point)) for o, row in pairs], np.float64)
        leaves, points = cells.leaf(self.known.partition, *at.T), s2.xyz(*at.T)
        out = []
        for (offset, row), leaf, point in zip(pairs, leaves, points, strict=True):
            features = row.features.copy()
            features[_COLUMN["moved"]] = 1
            out.append(Row("spot", int(leaf), -1, offset.start, row.end, point, features))
        return out

    def phrases(self, grams, phrase, held_out) -> list[Row]:
        """The phrases that tell most, none that another already tells."""
        learned = self.known.phrases
        known = np.flatnonzero(phrase >= 0)
        if not len(known):
            return []
        rows = phrase[known]
        worth = phrases.rank(learned, rows, held_out)
        out, spans = [], []
        for n in np.argsort(-worth, kind="stable"):
            if len(out) == PHRASES or worth[n] <= 0:
                break
            first, size, _ = grams[known[n]]
            total = int(learned.total[rows[n]])
            same = any(
                ((f <= first and first + size <= f + s) or (first <= f and f + s <= first + size))
                and 0.8 < (t + 1e-9) / total < 1.25
                for f, s, t in spans
            )
            if same:
                continue
            spans.append((first, size, total))
            number = total - (1 if held_out else 0)
            features = self.base(first, size, number)
            features[_COLUMN["phrase"]] = 1
            features[_COLUMN["support"]] = np.log1p(number) / 8
            features[_COLUMN["gain"]] = worth[n] / 8
            start, end = self.words[first].start, self.words[first + size - 1].end
            point = learned.mean[rows[n]]
            out.append(Row("phrase", int(rows[n]), -1, start, end, point, features))
        return out


def _best(rows: list[Row], count: int) -> list[Row]:
    """The rows to keep: moved ones, long names, those that agree, large ones."""

    def worth(row):
        f = row.features
        value = 4 * f[_COLUMN["moved"]] + 2 * f[_COLUMN["words"]] + f[_COLUMN["population"]]
        value += f[_COLUMN["country_agrees"]] + f[_COLUMN["division_agrees"]]
        value -= f[_COLUMN["tells_another"]]
        value += f[_COLUMN["whole_segment"]] + 0.5 * f[_COLUMN["first"]]
        return value - 2 * f[_COLUMN["inside_longer"]] - f[_COLUMN["rank"]]

    return sorted(rows, key=worth, reverse=True)[:count]
