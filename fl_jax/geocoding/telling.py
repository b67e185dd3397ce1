"""Learning to tell names of places from words, without labelled sentences.

In a text that is known to lie somewhere, a name that has a bearer there means a place, and any
other run of words that happens to be a name (village, near, de) does not [distant supervision,
Mintz et al. 2009]. Texts that name no place, in as many languages as there are, give the words of
sentences; with names planted into them they give sentences with places.
"""

from collections.abc import Sequence

import numpy as np

from fl_jax.geocoding import evidence, forms, matching, placehood, s2, sphere, usage, words
from fl_jax.geocoding import texts as texts_

NEAR_KM = 100.0  # a text's place so near to a bearer of a name is what the name means
POOL, EVERY = 20_000, 0.08  # places whose names are planted in texts, for one of how many words
TYPED_SMALL = 0.1  # share of those texts that are written without any capitals
RIDGE = 1.0  # squared weights that the likelihood is weighed against
STEPS = 30  # of Newton's method at most


def fit(
    known: evidence.Knowledge,
    texts: Sequence[str],
    lat: np.ndarray,
    lon: np.ndarray,
    *,
    placeless: Sequence[str] = (),
    prose: Sequence[str] = (),
    seed: int = 0,
) -> placehood.Placehood:
    """Learns to tell names from words.

    Every text's names are weighed by what the other half of the texts says of their words.

    Args:
        known: the gazetteer.
        texts: that are about one place each.
        lat, lon: (texts,) where it is, in degrees.
        placeless: texts that name no city, country or division.
        prose: texts that may, but not by words without a capital, which alone are looked at.
        seed: of the names that are planted into the placeless texts, so that sentences with
            places are seen, too.

    Raises:
        DataError: no texts, or another number of places.
    """
    texts = words.placed("telling names from words", texts, lat, lon)
    places, points = known.gazetteer, s2.xyz(lat, lon)
    of_region = _of_regions(places)
    placeless = words.strings(placeless)
    labelled = [_told(known, text) for text in placeless]
    labelled += [_told(known, *pair, of_region) for pair in zip(texts, points, strict=True)]
    labelled += [_told(known, text, small=True) for text in words.strings(prose)]
    halves = [usage.count(_counted(labelled[n::2])) for n in range(2)]
    planted = _plant(places, placeless, np.random.default_rng(seed))
    planted = [_told(known, text, spans=spans) for text, spans in planted]
    rows, meant = [], []
    for part in (labelled, planted):  # both begin with the placeless texts
        for n, (found, labels) in enumerate(part):
            rows.append(placehood.features(known, halves[1 - n % 2], found)[labels >= 0])
            meant.append(labels[labels >= 0])
    weights = regression(np.concatenate(rows), np.concatenate(meant))
    return placehood.Placehood(usage.count(_counted(labelled)), weights)


def regression(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The weights of a logistic regression with a ridge, by Newton's method.

    Args:
        x: (rows, features).
        y: (rows,) 0 or 1.
    """
    w = np.zeros(x.shape[1])
    for _ in range(STEPS):
        p = 1 / (1 + np.exp(-np.clip(x @ w, -500, 500)))
        slope = x.T @ (p - y) + RIDGE * w
        curve = (x * (p * (1 - p))[:, None]).T @ x + RIDGE * np.eye(len(w))
        move = np.linalg.solve(curve, slope)
        w -= move
        if np.abs(move).max() < 1e-8:
            break
    return w


def _of_regions(places) -> list[np.ndarray]:
    """The rows of the places in each country and division."""
    found = [np.zeros(0, np.int64)] * len(places.regions)
    for column in (places.country, places.admin1):
        order = np.argsort(column, kind="stable")
        code, first = np.unique(column[order], return_index=True)
        for region, rows in zip(code, np.split(order, first[1:]), strict=True):
            if region >= 0:
                found[region] = rows
    return found


def _plant(places, texts, draws) -> list[tuple[str, list[tuple[int, int]]]]:
    """Texts with names of places in place of some of their words, of the same script; each with
    the names' (start, end)."""
    rows = draws.choice(
        len(places.names),
        POOL,
        p=texts_.weights(places, np.arange(len(places.names)), texts_.FAMOUS_POWER),
    )
    pool: dict[str, list[str]] = {}
    for row in rows:
        others = [o for o in places.alternates[row].split("|") if len(o) > 1]
        others = [others[n] for n in draws.permutation(len(others))[:3]]
        for name in [places.names[row], *others]:
            pool.setdefault(forms.script(name), []).append(name)
    made = []
    for text in texts:
        own, spans, at = "", [], 0
        small = draws.random() < TYPED_SMALL
        for n, word in enumerate(words.split(text)):
            script = forms.script(text[word.start : word.end])
            if n == 0 or draws.random() > EVERY or script not in pool:
                continue
            name = pool[script][draws.integers(len(pool[script]))]
            own += text[at : word.start]
            spans.append((len(own), len(own) + len(name)))
            own, at = own + name, word.end
        own += text[at:]
        made.append((own.lower() if small and len(own.lower()) == len(own) else own, spans))
    return made


def _told(
    known, text, point=None, of_region=None, small=False, spans=()
) -> tuple[placehood.Names, np.ndarray]:
    """(names of a text, what each means: 1 a place, 0 something else, -1 unknown).

    Args:
        known: the gazetteer.
        text: any.
        point: (3,) where it is; None: nothing in it is a place.
        of_region: the places of each region.
        small: it is known of words without a capital alone.
        spans: (start, end) of the names that do mean places.
    """
    found = placehood.names(known, text)
    labels = np.zeros(len(found.candidates), int)
    if point is not None:
        for n, c in enumerate(found.candidates):
            bearers = [c.match.rows >> 1, *(of_region[r] for r in c.match.regions.tolist())]
            rows = np.concatenate(bearers)
            labels[n] = bool((sphere.chord_km(known.gazetteer.points[rows], point) < NEAR_KM).any())
        meant = [c.match for c, y in zip(found.candidates, labels, strict=True) if y]
        cover = matching.Cover([(m.first, m.after) for m in meant])
        for n, c in enumerate(found.candidates):
            if cover.longer(c.match.first, c.match.after):
                labels[n] = -1  # within a longer name, nobody asks
    elif spans:
        for n, c in enumerate(found.candidates):
            same = any((c.start, c.end) == span for span in spans)
            labels[n] = same or -any(c.start < b and a < c.end for a, b in spans)
    elif small:
        for n, c in enumerate(found.candidates):
            labels[n] = -(c.case != "a")
    return found, labels


def _counted(labelled):
    """(hash, whether a place was meant) of all that is known of names in texts."""
    for found, labels in labelled:
        for c, label in zip(found.candidates, labels, strict=True):
            if label >= 0:
                small, capital, *beside = placehood.entries(found, c)
                # A word with the capital of its sentence is written small elsewhere, if it is one.
                yield (
                    capital if c.case in ("A", "AA") and (label or not c.first) else small,
                    bool(label),
                )
                for h in beside:
                    yield h, bool(label)
