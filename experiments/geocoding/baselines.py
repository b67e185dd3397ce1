"""What a geocoder must beat: a constant, nearest neighbours, a dictionary, population."""

import numpy as np

from fl_jax.geocoding import s2, sphere, words
from fl_jax.geocoding.gazetteer import Gazetteer


def constant(train, test) -> np.ndarray:
    """Errors in km of the one point that is best on the training items, out of them."""
    points = s2.xyz(train.lat, train.lon)
    some = points[:: max(len(points) // 2000, 1)]
    best = some[int(np.argmin(np.arccos(np.clip(some @ some.T, -1, 1)).sum(1)))]
    return sphere.chord_km(s2.xyz(test.lat, test.lon), best)


def neighbour(train_text, train, test_text) -> np.ndarray:
    """Unit vectors: the place of the training text that is nearest by TF-IDF of 2-4 letters."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectors = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True)
    base = vectors.fit_transform([t.lower() for t in train_text])
    asked = vectors.transform([t.lower() for t in test_text])
    points = s2.xyz(train.lat, train.lon)
    best = []
    for start in range(0, asked.shape[0], 256):
        near = asked[start : start + 256] @ base.T
        best += np.asarray(near.argmax(axis=1)).reshape(-1).tolist()
    return points[best]


def dictionary(gazetteer: Gazetteer, text: str) -> int:
    """Row of the longest name in the text that fits, -1 if there is none.

    A name begins with a capital (or in a script without them) and has a bearer in one of the
    countries that the text names, if it names any; of those, the ones in a division that the
    text names, if there are any; of those, the largest.
    """
    found = words.split(text)
    grams = words.grams(found, 6)
    if not grams:
        return -1
    hashes = np.array([h for _, _, h in grams])
    a, b = gazetteer.place_index.find(hashes)
    c, d = gazetteer.region_index.find(hashes)
    regions = {int(r) for n in range(len(grams)) for r in gazetteer.region_index.rows[c[n] : d[n]]}
    countries = [r for r in regions if r < gazetteer.countries]
    divisions = [r for r in regions if r >= gazetteer.countries]
    for n in sorted(range(len(grams)), key=lambda n: (-_letters(found, grams[n]), grams[n][0])):
        rows = gazetteer.place_index.rows[a[n] : b[n]] >> 1
        if text[found[grams[n][0]].start].islower():
            continue
        if countries:
            rows = rows[np.isin(gazetteer.country[rows], countries)]
        inside = rows[np.isin(gazetteer.admin1[rows], divisions)]
        rows = inside if len(inside) else rows
        if len(rows):
            return int(rows[np.argmax(gazetteer.population[rows])])
    return -1


def population(gazetteer: Gazetteer, name: str) -> int:
    """Row of the largest place of exactly this name; -1 if there is none."""
    a, b = gazetteer.place_index.find(np.array([words.name_key(name)]))
    rows = gazetteer.place_index.rows[a[0] : b[0]] >> 1
    return int(rows[np.argmax(gazetteer.population[rows])]) if len(rows) else -1


def _letters(found, gram) -> int:
    first, size, _ = gram
    return sum(len(w.folded) for w in found[first : first + size])
