"""Training texts from a gazetteer: names in many scripts, context, directions, noise.

Places are drawn by a power of their population, so that a name alone means its largest bearer,
while a region beside it may name another: "Paris" and "Paris, Texas" are both learned.
"""

import unicodedata
from typing import NamedTuple

import numpy as np

from fl_jax.geocoding import sphere
from fl_jax.geocoding.gazetteer import Gazetteer

PRIOR_POWER = 0.4  # of the population; 0 = all places alike
KINDS = ("village", "town", "city", "municipality", "school", "hospital", "railway station",
         "museum", "church", "bridge", "castle", "airport", "park", "stadium", "university",
         "lake", "hill", "monastery")  # fmt: skip
INSIDE = ("{kind} in {name}, {region}", "{kind} in {name}", "a {kind} near {name}, {region}",
          "{kind} de {name}, {region}", "{name} ({region})", "{kind} à {name}, {region}",
          "{kind} in der Nähe von {name}, {region}", "{name} в {region}")  # fmt: skip
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
    found = []
    for row, other in zip(drawn.tolist(), others.tolist(), strict=True):
        made = _one(gazetteer, row, other, rng)
        if rng.random() < noise:
            made = made._replace(text=disturb(made.text, rng))
        found.append(made)
    return found


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


def _region(gazetteer, row, rng) -> str:
    """A region of the place, in one of its languages, or two regions."""
    country, division = int(gazetteer.country[row]), int(gazetteer.admin1[row])
    parts = []
    if division >= 0 and rng.random() < 0.5:
        parts.append(gazetteer.region_names[division][0])
    if country >= 0 and (not parts or rng.random() < 0.6):
        names = gazetteer.region_names[country]
        foreign = rng.random() < 0.4
        parts.append(names[rng.integers(len(names))] if foreign else names[0])
    return ", ".join(parts)


def _one(gazetteer, row, other, rng) -> Text:
    lat, lon = float(gazetteer.lat[row]), float(gazetteer.lon[row])
    own, draw = name(gazetteer, row, rng), rng.random()
    region = _region(gazetteer, row, rng)
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
