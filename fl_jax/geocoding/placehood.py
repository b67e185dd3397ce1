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
    if not found.candidates:
        return np.zeros((0, len(FEATURES)))
    case = found.case
    cased = any(c == "A" and not begins for c, begins in zip(case, found.first, strict=True))
    small = {w.folded for w, c in zip(found.words, case, strict=True) if c == "a"}
    shouting = case.count("AA") > len(case) / 2
    hashes = [entries(found, c) for c in found.candidates]
    place, other = counts.counts(np.array([h for own in hashes for h in own], np.int64))
    rows, at = [], 0
    for candidate, own in zip(found.candidates, hashes, strict=True):
        used = slice(at, at + len(own))
        at += len(own)
        values = {
            "one": 1.0,
            **_use(candidate, place[used], other[used]),
            **_writing(found, candidate, cased=cased, small=small, shouting=shouting),
            **_bearers(known, found, candidate.match),
        }
        rows.append([values[name] for name in FEATURES])
    return np.array(rows, np.float64)


def _use(candidate: Candidate, meant: np.ndarray, unmeant: np.ndarray) -> dict:
    """How a name and the words around it are used, by the counts of its `entries`."""
    # Where it is written like this; at the beginning of a sentence, at all.
    which = [usage.SMALL, usage.CAPITAL]
    if not candidate.first and candidate.case:
        which = [usage.SMALL if candidate.case == "a" else usage.CAPITAL]
    place, other = meant[which].sum(), unmeant[which].sum()
    before, behind, *of_words = np.log((meant[2:] + 0.5) / (unmeant[2:] + 0.5))
    return {
        "name": np.log((place + 0.5) / (other + 0.5)),
        "known": np.log1p(place + other),
        "word": max(of_words),
        "before": before,
        "behind": behind,
    }


def _writing(found: Names, candidate: Candidate, *, cased, small, shouting) -> dict:
    """How a name is written, in a text with capitals within its sentences (cased), with these
    words written small, or mostly in capitals (shouting)."""
    m, split, case = candidate.match, found.words, found.case
    name = found.text[candidate.start : candidate.end]
    whole, capital = _case(name), candidate.case == "A"
    beside = lambda n: (
        0 <= n < len(split)
        and case[n] in ("A", "AA")
        and not found.first[n]
        and split[n].segment == split[m.first].segment
    )
    return {
        "small": whole == "a" and cased,
        "small_text": whole == "a" and not cased,
        "capital": capital and not candidate.first,
        "capital_first": capital and candidate.first,
        "shout": whole == "AA" and not shouting,
        "no_case": whole == "",
        "words": m.size - 1,
        "letters": min(len(name), SHORT) / SHORT,
        "capital_before": beside(m.first - 1),
        "capital_behind": beside(m.after),
        "also_small": capital and m.size == 1 and split[m.first].folded in small,
        "form": m.gram < 0,
        "unspaced": words.unspaced(name),
        "alone": len(split) == m.size,
    }


def _bearers(known: evidence.Knowledge, found: Names, match: matching.Match) -> dict:
    """What has this name."""
    places = match.rows >> 1
    people = float(known.gazetteer.population[places].max(initial=0))
    country = bool((match.regions < known.gazetteer.countries).any())
    fit = found.context.fit(match) if len(places) else None
    return {
        "people": np.log10(people + 1) / 7,
        "country": country,
        "division": len(match.regions) > 0 and not country,
        "first_name": bool(((match.rows & 1) == 0).any()),
        "agrees": fit is not None and bool((fit.country | fit.division).any()),
    }


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
