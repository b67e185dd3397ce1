"""Every place that a paragraph names.

First, which names mean a place at all (`placehood`); then, which of its bearers: the network
weighs those of one name by the words around it.
"""

from typing import NamedTuple

import numpy as np

from fl_jax.core import errors
from fl_jax.geocoding import evidence, placehood
from fl_jax.geocoding.geocoder import BATCHES, Geocoder

LEAST = 0.5  # probability of being a place below which a name is left out
WINDOW = 300  # characters that are read together, about
# A name that a division shares with a place means the place if it has so much of its people.
OWN_SHARE = 0.05
# The network was trained on texts about one place, where small ones are as likely as large ones;
# sentences name large ones oftener: power of the people that its probability is taken times.
PRIOR_POWER = 0.5


class Mention(NamedTuple):
    """A place named in a text."""

    start: int  # characters
    end: int
    row: int  # of the gazetteer; -1: a country or division is meant
    region: int  # of `Gazetteer.regions`; -1: a place is meant
    probability: float  # that the name means this one, given that it means one of its bearers
    place: float  # probability that it means a place, a division or a country at all


def mentions(geocoder: Geocoder, text: str, *, least: float = LEAST) -> list[Mention]:
    """The places, divisions and countries that a text names, with the offsets of the names.

    Of names that lie in one another the longest wins.

    Args:
        geocoder: one that can tell names from words.
        text: of any length; it is read in windows of sentences.
        least: `Mention.place` below which a name is left out; less finds more and errs more.

    Raises:
        DataError: what is no string.
        ConfigError: a probability that is none; a geocoder that was not told names from words.
    """
    if not isinstance(text, str):
        raise errors.DataError(f"a text is a string, got {type(text).__name__}.")
    if not 0 <= least <= 1:
        raise errors.ConfigError(f"least is a probability from 0 to 1, got {least!r}.")
    if geocoder.told is None:
        raise errors.ConfigError(
            "this geocoder cannot tell names from words; give it what telling.fit returns, as"
            " train.train does: geocoder.told = telling.fit(geocoder.known, texts, lat, lon)."
        )
    found, regions, asked = [], [], []
    for offset, part in _windows(text):
        names = placehood.names(geocoder.known, part)
        chosen = _chosen(geocoder, names, least)
        starts = {
            names.candidates[at].start: names.candidates[at].match.regions for at, _ in chosen
        }
        for at, place in chosen:
            name = names.candidates[at]
            span = name.start + offset, name.end + offset
            region = _region(geocoder, names, name.match)
            if region >= 0:
                regions.append((name.match, region, span, place))
            else:
                behind = name.end + len(part[name.end :]) - len(part[name.end :].lstrip(" ,("))
                name = _inside(geocoder.gazetteer, name, starts.get(behind))
                asked.append((part, name, span, place))
    for first in range(0, len(asked), BATCHES[-1]):
        some = asked[first : first + BATCHES[-1]]
        bearers = _bearers(geocoder, [part for part, *_ in some], [name for _, name, *_ in some])
        for (_, _, span, place), (row, probability) in zip(some, bearers, strict=True):
            found.append(Mention(*span, row, -1, probability, place))
    ends = {m.end: m.row for m in found}
    for match, region, span, place in regions:
        before = text[: span[0]].rstrip(" ,(")
        region = _around(geocoder, match, ends.get(len(before), -1), region)
        share = _share(geocoder, match, region)
        found.append(Mention(*span, -1, region, share, place))
    return sorted(found)


def _chosen(geocoder, names: placehood.Names, least: float) -> list[tuple[int, float]]:
    """(candidate, probability of being a place) of the names that mean places."""
    probability = placehood.probability(geocoder.known, geocoder.told, names)
    order = sorted(
        np.flatnonzero(probability >= least).tolist(),
        key=lambda n: (names.candidates[n].start - names.candidates[n].end, n),
    )
    kept: list[int] = []
    for n in order:
        own = names.candidates[n]
        apart = (
            own.end <= k.start or k.end <= own.start
            for k in map(names.candidates.__getitem__, kept)
        )
        if all(apart):
            kept.append(n)
    return [(n, float(probability[n])) for n in kept]


def _region(geocoder, names: placehood.Names, match) -> int:
    """The country or division that a name means, -1 if it means a place: a country before a
    place, a place before a division of whose people it has a share, and whatever lies in a
    country that is named beside it before the rest."""
    if not len(match.regions):
        return -1
    places, people = geocoder.gazetteer, geocoder.people
    beside = names.context.countries_beside(match)
    of_country = {r: int(geocoder.known.parent[r]) for r in match.regions.tolist()}
    order = lambda r: (of_country[r] in beside, of_country[r] < 0, people[r])
    best = max(of_country, key=order)
    if of_country[best] < 0 or not len(match.rows):
        return best
    rows = match.rows >> 1
    inland = rows[places.country[rows] == of_country[best]]
    largest = places.population[inland].max(initial=0)
    return -1 if largest >= OWN_SHARE * people[best] else best


def _inside(places, name: placehood.Candidate, regions) -> placehood.Candidate:
    """The name of those bearers that lie in a region of the name behind it, if any do."""
    if regions is None:
        return name
    rows = name.match.rows >> 1
    inside = np.isin(places.admin1[rows], regions) | np.isin(places.country[rows], regions)
    return (
        name._replace(match=name.match._replace(rows=name.match.rows[inside]))
        if inside.any()
        else name
    )


def _around(geocoder, match, row: int, region: int) -> int:
    """The region of this name that the place before it lies in, as in "Lyon, France"; else
    `region`."""
    if row < 0:
        return region
    own = (geocoder.gazetteer.admin1[row], geocoder.gazetteer.country[row])
    return next((int(r) for r in own if r in match.regions), region)


def _share(geocoder, match, region: int) -> float:
    """A region's people among those of all that have the name."""
    own = geocoder.people[region] + 1
    others = geocoder.people[match.regions].sum() - geocoder.people[region]
    rows = np.unique(match.rows >> 1)
    outside = rows[
        (geocoder.gazetteer.admin1[rows] != region) & (geocoder.gazetteer.country[rows] != region)
    ]
    return float(own / (own + others + geocoder.gazetteer.population[outside].sum()))


def _bearers(geocoder, parts, names) -> list[tuple[int, float]]:
    """(row, probability) of the likeliest bearer of each name in its text."""
    spans = [(name.start, name.end) for name in names]
    data, encoded = geocoder.encode(parts, names=spans)
    pointer = np.asarray(encoded.pointer)[:, : evidence.SPOTS] / geocoder.calibration.pointer
    found = []
    for n, name in enumerate(names):
        rows, at = data.evidence.place[n], data.evidence.span[n, : evidence.SPOTS]
        own = np.flatnonzero((rows >= 0) & (at == spans[n]).all(1))
        own = own[np.isin(rows[own], name.match.rows >> 1)]
        rows, scores = rows[own], pointer[n, own]
        if not len(own):  # so common a word, or so small a place, that no evidence is made of it
            rows = np.unique(name.match.rows >> 1)
            scores = np.zeros(len(rows))
        scores = scores + PRIOR_POWER * np.log(geocoder.gazetteer.population[rows] + 1)
        best = int(np.argmax(scores))
        found.append((int(rows[best]), float(1 / np.exp(scores - scores[best]).sum())))
    return found


def _windows(text: str, size: int = WINDOW):
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
