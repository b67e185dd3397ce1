"""Training texts from a gazetteer: names in many scripts, context, directions, noise.

Places are drawn by a power of their population, so that a name alone means its largest bearer,
while a region beside it may name another: "Paris" and "Paris, Texas" are both learned, the
second from places that a larger one of their name overshadows, drawn for that purpose.
"""

import unicodedata
from typing import NamedTuple

import numpy as np

from fl_jax.geocoding import forms, sphere, words
from fl_jax.geocoding.gazetteer import Gazetteer

PRIOR_POWER = 0.4  # of the population; 0 = all places alike
FAMOUS_POWER = 0.8  # for half of the names that stand alone: whoever gives no more means a city
KINDS = ("village", "town", "city", "municipality", "school", "hospital", "railway station",
         "museum", "church", "bridge", "castle", "airport", "park", "stadium", "university",
         "lake", "hill", "monastery")  # fmt: skip
INSIDE = ("{kind} in {name}, {region}", "{kind} in {name}", "a {kind} near {name}, {region}",
          "{kind} de {name}, {region}", "{name} ({region})", "{kind} à {name}, {region}",
          "{kind} in der Nähe von {name}, {region}", "{name} в {region}")  # fmt: skip
BESIDE = ("{name}, {region}", "{name}, {region}", "{name} ({region})", "{name} {region}",
          "{kind} in {name}, {region}", "{kind} in {name} ({region})", "{name} in {region}",
          "{region}: {name}", "{name}, {kind} in {region}")  # fmt: skip
# By the script of the name: "a school in X" and the like; what grows onto a name is added to it.
LOCAL = {
    "CYRILLIC": ("школа {grown}", "деревня {name}", "церковь {grown}", "город {name}, {region}"),
    "GREEK": ("σχολείο στην {name}", "χωριό κοντά στο {name}", "{name}, {region}"),
    "ARABIC": ("مدرسة في {name}", "قرية قرب {name}", "{name}، {region}", "جسر {grown}"),
    "HEBREW": ("בית ספר {grown}", "כפר ליד {name}", "{name}, {region}"),
    "ETHIOPIC": ("ቤተ ክርስቲያን {grown}", "ትምህርት ቤት {grown}", "{name}, {region}"),
    "DEVANAGARI": ("{name} में एक स्कूल", "{name} का मंदिर", "{name}, {region}"),
    "BENGALI": ("{grown} একটি স্কুল", "{region} {name}", "{name}, {region}"),
    "TAMIL": ("{grown} ஒரு பள்ளி", "{name}, {region}"),
    "THAI": ("โรงเรียนใน{name}", "วัดใน{name} {region}", "{name}, {region}"),
    "HANGUL": ("{grown} 학교", "{region} {name}", "{name}, {region}"),
    "CJK": ("{name}的学校", "{region}{name}", "{name}の神社", "{name}，{region}"),
    "KATAKANA": ("{name}の学校", "{region}の{name}", "{region}{name}", "{name}（{region}）"),
    "GEORGIAN": ("სკოლა {grown}", "{name}, {region}"),
    "ARMENIAN": ("դպրոց {grown}", "{name}, {region}"),
}  # fmt: skip
OVERSHADOWED = 0.15  # share of the texts about places that a larger one of their name exists of
AWAY = (
    "{km} km {way} of {name}, {region}",
    "{km} km {way} of {name}",
    "{kind} {km} km {way} of {name}, {region}",
    "about {miles} miles {way} of {name}",
)
TWO = ("{name} near {other}", "from {name} towards {other}", "{name}, on the road to {other}",
       "{name} and not {other}")  # fmt: skip
WAYS = ("north", "northeast", "east", "southeast", "south", "southwest", "west", "northwest")


class Text(NamedTuple):
    """A text and where it is."""

    text: str
    lat: float
    lon: float
    kind: str  # how it was made
    place: int  # row of the gazetteer


def weights(gazetteer: Gazetteer, rows: np.ndarray, power: float = PRIOR_POWER) -> np.ndarray:
    """Probabilities with which places are drawn."""
    found = (gazetteer.population[rows] + 300.0) ** power
    return found / found.sum()


def generate(
    gazetteer: Gazetteer, rows: np.ndarray, count: int, rng: np.random.Generator, noise=0.3
) -> list[Text]:
    """So many texts about places of these rows.

    Args:
        gazetteer: names and regions.
        rows: places to draw from.
        count: texts.
        rng: draws everything.
        noise: share of the texts that get a typo, another case, or lose their diacritics.
    """
    drawn = rng.choice(rows, count, p=weights(gazetteer, rows))
    others = rng.choice(rows, count, p=weights(gazetteer, rows))
    famous = rng.choice(rows, count, p=weights(gazetteer, rows, FAMOUS_POWER))
    small, abroad = overshadowed(gazetteer, rows)
    smaller = rng.choice(len(small), count, p=weights(gazetteer, small)) if len(small) else drawn
    contrast = (rng.random(count) < OVERSHADOWED) & (len(small) > 0)
    found = []
    for n, (row, other) in enumerate(zip(drawn.tolist(), others.tolist(), strict=True)):
        if contrast[n]:
            made = _beside(gazetteer, int(small[smaller[n]]), bool(abroad[smaller[n]]), rng)
        else:
            made = _one(gazetteer, row, other, rng)
            if made.kind == "name" and rng.random() < 0.5:
                made = _named(gazetteer, int(famous[n]), rng)
        if rng.random() < noise:
            made = made._replace(text=disturb(made.text, rng))
        found.append(made)
    return found


def overshadowed(gazetteer: Gazetteer, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(rows whose name has a larger bearer elsewhere, whether that is in another country)."""
    keys = np.array([words.name_key(gazetteer.names[row]) for row in rows], np.int64)
    a, b = gazetteer.place_index.find(keys)
    bearers = gazetteer.place_index.rows >> 1  # of one name the largest, the lowest row, first
    largest = np.where(b > a, bearers[np.minimum(a, len(bearers) - 1)], rows)
    abroad = gazetteer.country[largest] != gazetteer.country[rows]
    inland = (gazetteer.admin1[largest] != gazetteer.admin1[rows]) & (gazetteer.admin1[rows] >= 0)
    kept = (largest < rows) & (abroad | inland)
    return rows[kept], abroad[kept]


def name(gazetteer: Gazetteer, row: int, rng: np.random.Generator, alternates: float = 0.5) -> str:
    """The place's name, or one of its alternate ones."""
    others = [o for o in gazetteer.alternates[row].split("|") if len(o) > 1]
    if others and rng.random() < alternates:
        return others[rng.integers(len(others))]
    return gazetteer.names[row]


def disturb(text: str, rng: np.random.Generator) -> str:
    """The text as hurried people type it: one letter wrong, another case, no diacritics."""
    way = rng.integers(5)
    if way == 0:
        return text.lower()
    if way == 1:
        return text.upper()
    if way == 2:
        plain = unicodedata.normalize("NFKD", text)
        return "".join(c for c in plain if not "\u0300" <= c <= "\u036f")
    letters = [n for n, c in enumerate(text) if c.isalpha()]
    if len(letters) < 5:
        return text
    at = letters[rng.integers(1, len(letters))]
    if way == 3:
        return text[:at] + text[at + 1 :]
    return text[: at - 1] + text[at] + text[at - 1] + text[at + 1 :]


def _region(gazetteer, row, own, rng, divided: float = 0.5) -> str:
    """A region of the place, in the script of its name or in another one, or two regions."""
    country, division = int(gazetteer.country[row]), int(gazetteer.admin1[row])
    parts = []
    if division >= 0 and rng.random() < divided:
        parts.append(_division(gazetteer, division, rng))
    if country >= 0 and (not parts or rng.random() < 0.6):
        parts.append(_country(gazetteer.region_names[country], own, rng))
    return ", ".join(parts)


def _division(gazetteer, division, rng) -> str:
    """A division's name, or the letters that stand for it."""
    code = gazetteer.regions[division].code.partition(".")[2]
    if code in gazetteer.codes and rng.random() < 0.25:
        return code
    return gazetteer.region_names[division][0]


def _country(names, own, rng) -> str:
    """One of a country's names: in the script of the place's name if it can be."""
    script = forms.script(own)
    alike = [n for n in names if forms.script(n) == script]
    if script != "LATIN" and alike and rng.random() < 0.7:
        return alike[rng.integers(len(alike))]
    return names[rng.integers(len(names))] if rng.random() < 0.4 else names[0]


def _named(gazetteer, row, rng) -> Text:
    """A name and nothing else."""
    lat, lon = float(gazetteer.lat[row]), float(gazetteer.lon[row])
    return Text(name(gazetteer, row, rng), lat, lon, "name", row)


def _beside(gazetteer, row, abroad, rng) -> Text:
    """A place told from a larger one of its name by a region, by its division where it must."""
    own = name(gazetteer, row, rng, 0.2)
    region = _region(gazetteer, row, own, rng, 0.5 if abroad else 1.0)
    fields = {"name": own, "region": region, "kind": KINDS[rng.integers(len(KINDS))]}
    text = BESIDE[rng.integers(len(BESIDE))].format(**fields) if region else own
    kind = "name and region" if region else "name"
    return Text(text, float(gazetteer.lat[row]), float(gazetteer.lon[row]), kind, row)


def _one(gazetteer, row, other, rng) -> Text:
    lat, lon = float(gazetteer.lat[row]), float(gazetteer.lon[row])
    own, draw = name(gazetteer, row, rng), rng.random()
    region = _region(gazetteer, row, own, rng)
    local = LOCAL.get(forms.script(own))
    if local and rng.random() < 0.4:
        fields = {"name": own, "region": region, "grown": forms.grow(own, rng)}
        text = local[rng.integers(len(local))].format(**fields).strip(" ,،，（）")
        return Text(text, lat, lon, "local", row)
    if draw < 0.3 or not region:
        return Text(own, lat, lon, "name", row)
    if draw < 0.6:
        return Text(f"{own}, {region}", lat, lon, "name and region", row)
    fields = {"name": own, "region": region, "kind": KINDS[rng.integers(len(KINDS))]}
    if draw < 0.75:
        return Text(INSIDE[rng.integers(len(INSIDE))].format(**fields), lat, lon, "inside", row)
    if draw < 0.85:
        second = name(gazetteer, other, rng, 0.1)
        template = TWO[rng.integers(len(TWO))]
        return Text(template.format(other=second, **fields), lat, lon, "two places", row)
    km, way = int(rng.choice([5, 10, 15, 20, 30, 50, 80, 120, 200])), int(rng.integers(8))
    template = AWAY[rng.integers(len(AWAY))]
    exact = round(km / 1.609344) * 1.609344 if "{miles}" in template else km
    text = template.format(km=km, miles=round(km / 1.609344), way=WAYS[way], **fields)
    lat, lon = (float(x) for x in sphere.move(lat, lon, 45.0 * way, exact))
    return Text(text, lat, lon, "away", row)
