"""Whether a name in a text means a place at all: a logistic regression on how it is written.

`fl_jax.geocoding.telling` learns it.
"""

from typing import NamedTuple

import numpy as np

from fl_jax.geocoding import evidence, matching, usage, words

SHORT = 4  # letters of a name up to which each more is worth something
FEATURES = (
    "one", "name", "known", "word", "before", "behind", "small", "small_text", "capital",
    "capital_first", "shout", "no_case", "people", "country", "division", "first_name", "words",
    "letters", "capital_before", "capital_behind", "also_small", "agrees", "form", "unspaced",
    "alone",
)  # fmt: skip


class Placehood(NamedTuple):
    """What tells names from words."""

    usage: usage.Usage
    weights: np.ndarray  # (FEATURES,) float64, of the features as `features` gives them


class Candidate(NamedTuple):
    """A run of words that is a name."""

    match: matching.Match
    start: int  # characters
    end: int
    case: str  # of its first word, as `_case` has it
    first: bool  # of a sentence, where a capital says nothing


class Names(NamedTuple):
    """The names in a text, whatever they mean."""

    text: str
    words: list[words.Word]
    case: list[str]  # of the words, as `_case` has it
    first: list[bool]  # whether a sentence begins with it
    candidates: list[Candidate]
    context: matching.Context


def names(known: evidence.Knowledge, text: str) -> Names:
    """All runs of words that name a place, a country or a division, one entry a span."""
    found = words.split(text)
    places = known.gazetteer
    grams = matching.grams(found)
    hashes = np.array([h for _, _, h in grams], np.int64)
    uncommon = np.zeros(len(grams), bool)
    matches = matching.find(places, text, found, grams, hashes, uncommon) if found else []
    merged: dict[tuple[int, int], matching.Match] = {}
    for match in matches:
        if match.across:
            continue
        if match.gram >= 0 and int(hashes[match.gram]) in places.demonyms:
            match = match._replace(regions=match.regions[:0])
        span = match.first, match.after
        if span in merged:
            before = merged[span]
            rows = np.union1d(before.rows, match.rows)
            match = before._replace(rows=rows, regions=np.union1d(before.regions, match.regions))
        if len(match.rows) or len(match.regions):
            merged[span] = match
    case = [_case(text[w.start : w.end]) for w in found]
    first = [n == 0 or _begins(text[found[n - 1].end : w.start]) for n, w in enumerate(found)]
    candidates = [
        Candidate(m, found[m.first].start, found[m.after - 1].end, case[m.first], first[m.first])
        for m in merged.values()
    ]
    context = matching.Context(places, known.parent, matches)
    return Names(text, found, case, first, candidates, context)


def features(known: evidence.Knowledge, counts: usage.Usage, found: Names) -> np.ndarray:
    """(candidates, FEATURES) of the names in a text.

    Counts come as the logarithm of how much oftener a place was meant than not.
    """
    split, case, first = found.words, found.case, found.first
    if not found.candidates:
        return np.zeros((0, len(FEATURES)))
    folded = [w.folded for w in split]
    cased = any(c == "A" and not begins for c, begins in zip(case, first, strict=True))
    small = {f for f, c in zip(folded, case, strict=True) if c == "a"}
    shouting = sum(c == "AA" for c in case) > len(case) / 2
    hashes = [entries(found, c) for c in found.candidates]
    place, other = counts.counts(np.array([h for own in hashes for h in own], np.int64))
    rows, at = [], 0
    for candidate, own in zip(found.candidates, hashes, strict=True):
        m = candidate.match
        meant, unmeant = place[at : at + len(own)], other[at : at + len(own)]
        at += len(own)
        # How it is used where it is written like this; at the beginning of a sentence, at all.
        which = [usage.SMALL, usage.CAPITAL]
        if not candidate.first and candidate.case:
            which = [usage.SMALL if candidate.case == "a" else usage.CAPITAL]
        times = meant[which].sum() + unmeant[which].sum()
        used = np.log((meant[which].sum() + 0.5) / (unmeant[which].sum() + 0.5))
        odds = np.log((meant + 0.5) / (unmeant + 0.5))
        before, behind, *of_words = odds[2:]
        name = found.text[candidate.start : candidate.end]
        whole = _case(name)
        capital = lambda n, m=m: (
            0 <= n < len(split)
            and case[n] in ("A", "AA")
            and not first[n]
            and split[n].segment == split[m.first].segment
        )
        places = m.rows >> 1
        people = float(known.gazetteer.population[places].max()) if len(places) else 0.0
        country = bool((m.regions < known.gazetteer.countries).any())
        fit = found.context.fit(m) if len(places) else None
        rows.append((
            1.0,
            used,
            np.log1p(times),
            max(of_words),
            before,
            behind,
            whole == "a" and cased,
            whole == "a" and not cased,
            candidate.case == "A" and not candidate.first,
            candidate.case == "A" and candidate.first,
            whole == "AA" and not shouting,
            whole == "",
            np.log10(people + 1) / 7,
            country,
            len(m.regions) > 0 and not country,
            bool(((m.rows & 1) == 0).any()),
            m.size - 1,
            min(candidate.end - candidate.start, SHORT) / SHORT,
            capital(m.first - 1),
            capital(m.after),
            candidate.case == "A" and m.size == 1 and folded[m.first] in small,
            fit is not None and bool((fit.country | fit.division).any()),
            m.gram < 0,
            words.unspaced(name),
            len(split) == m.size,
        ))  # fmt: skip
    return np.array(rows, np.float64)


def probability(known: evidence.Knowledge, told: Placehood, found: Names) -> np.ndarray:
    """(candidates,) the probability that each name means a place."""
    score = features(known, told.usage, found) @ told.weights
    return 1 / (1 + np.exp(-np.clip(score, -500, 500)))


def entries(found: Names, candidate: Candidate) -> list[int]:
    """Hashes of a name, small and with a capital, the words before and behind it, its words."""
    m, split = candidate.match, found.words
    beside = lambda n: (
        split[n].folded
        if 0 <= n < len(split) and split[n].segment == split[m.first].segment
        else usage.EDGE
    )
    own = [w.folded for w in split[m.first : m.after]]
    return [
        usage.mark(usage.SMALL, own),
        usage.mark(usage.CAPITAL, own),
        usage.mark(usage.BEFORE, beside(m.first - 1)),
        usage.mark(usage.BEHIND, beside(m.after)),
        *(usage.mark(usage.WORD, word) for word in own),
    ]


def _case(name: str) -> str:
    """How a name is written: a (small), A (with a capital), AA (capitals alone), or without."""
    if name.lower() == name.upper():
        return ""
    if name == name.lower():
        return "a"
    letters = [c for c in name if c.lower() != c.upper()]
    return "AA" if len(letters) > 1 and name == name.upper() else "A"


def _begins(gap: str) -> bool:
    """Whether a sentence begins behind what is between two words."""
    return any(mark in gap for mark in '.!?:\n¿¡…"“«;')
