"""Places and regions with their names: GeoNames' cities and countries in many languages.

`load` reads `$FL_JAX_DATA/geonames-cities500` (CC BY 4.0, geonames.org) and
`$FL_JAX_DATA/countries-mledoze` (ODbL 1.0); without them, `fl_jax.geocoding.embedded` has a few
hundred cities. Answers that use them must carry `Gazetteer.notices`.
"""

import gzip
import itertools
import json
import pathlib
import zlib
from typing import NamedTuple

import numpy as np

from fl_jax.core import errors
from fl_jax.data import sources
from fl_jax.geocoding import embedded, historic, s2, sphere, words

NOTICES = (
    "Places: GeoNames (geonames.org), CC BY 4.0.",
    "Countries and outlines: mledoze/countries, ODbL 1.0.",
)


class Region(NamedTuple):
    """A country or a first-level division of one."""

    code: str  # ISO 3166-1 alpha-2, or COUNTRY.ADMIN1
    name: str
    lat: float
    lon: float


class Gazetteer(NamedTuple):
    """Places by row, largest first; regions, countries first; and their names by hash."""

    ids: np.ndarray  # (places,) int64 GeoNames ids
    names: list[str]
    lat: np.ndarray  # (places,) degrees
    lon: np.ndarray
    country: np.ndarray  # (places,) int32 index of the region, -1 if unknown
    admin1: np.ndarray  # (places,) int32 index of the region, -1 if unknown
    population: np.ndarray  # (places,) int64
    points: np.ndarray  # (places, 3) unit vectors
    regions: list[Region]
    countries: int  # how many of the regions are countries
    place_index: words.Index  # hash -> row * 2 + (1 for an alternate name)
    region_index: words.Index  # hash -> region
    alternates: list[str]  # names of a place other than the first, joined by |
    region_names: list[list[str]]
    notices: tuple[str, ...]
    origin: str
    codes: dict[str, list[int]]  # two letters -> divisions that are written so: TX
    alpha3: dict[str, str]  # ISO 3166-1 alpha-3 -> alpha-2, of the countries whose is known
    demonyms: frozenset[int] = (
        frozenset()
    )  # hashes of what people and things of a country are called

    def country_code(self, row: int) -> str:
        """ISO code of a place's country, empty if unknown."""
        at = int(self.country[row])
        return self.regions[at].code if at >= 0 else ""

    def display(self, row: int) -> str:
        """Name, division and country of a place, as people write it.

        Raises:
            DataError: -1, which stands for no place in an answer.
        """
        if row < 0:
            raise errors.DataError(
                f"row {row} is no place; an answer that is none has a label"
                " (`service.formats.label`), a mention that is none a region."
            )
        parts = [self.names[row]]
        for at in (int(self.admin1[row]), int(self.country[row])):
            if at >= 0 and self.regions[at].name not in parts:
                parts.append(self.regions[at].name)
        return ", ".join(parts)

    def nearest(self, lat: float, lon: float) -> tuple[int, float]:
        """(row, km) of the place nearest to a point in degrees.

        Raises:
            DataError: a point that is not on the globe.
        """
        lat, lon = s2.check_points(lat, lon)
        near = self.points @ s2.xyz(lat, lon)
        row = int(np.argmax(near))
        return row, float(sphere.distance(lat, lon, self.lat[row], self.lon[row]))


def load() -> Gazetteer:
    """The gazetteer of the data folder, or the embedded one.

    Raises:
        DataError: the folder is there and not readable as its README says.
    """
    if sources.folder("geonames-cities500") is None or sources.folder("countries-mledoze") is None:
        return from_rows(embedded.places(), embedded.countries(), {}, (), "embedded cities")
    folder = sources.require("geonames-cities500")
    try:
        path = sources.require("countries-mledoze") / "countries.json.gz"
        alpha3, countries, demonyms = zip(*_countries(path), strict=True)
        own = divisions(folder / "admin1CodesASCII.txt.gz")
        return from_rows(_places(folder / "cities500.tsv.gz"), countries, own, NOTICES,
                         "$FL_JAX_DATA: geonames-cities500, countries-mledoze",
                         dict(zip(alpha3, (c[0] for c in countries), strict=True)),
                         itertools.chain(*demonyms))  # fmt: skip
    except (OSError, EOFError, zlib.error, ValueError, KeyError, IndexError) as error:
        raise errors.DataError(
            f"the gazetteer in {folder.parent} cannot be read ({type(error).__name__}: {error})."
        ) from None


def from_rows(places, countries, divisions, notices, origin, alpha3=None, demonyms=()) -> Gazetteer:
    """A gazetteer of rows.

    Args:
        places: (id, name, lat, lon, country code, division code, population, alternate names)
            of each place, largest first.
        countries: (code, lat, lon, names) of each country, the first name being the usual one.
        divisions: COUNTRY.CODE -> names.
        notices: what answers must carry.
        origin: where the rows are from.
        alpha3: ISO 3166-1 alpha-3 -> alpha-2.
        demonyms: those among the names of countries that mean their people: Danish.
    """
    ids, names, lat, lon, country, division, population, alternates = zip(*places, strict=True)
    lat, lon = np.array(lat, np.float64), np.array(lon, np.float64)
    countries = list(countries)
    regions = [Region(code, own[0], a, b) for code, a, b, own in countries]
    number = {r.code: n for n, r in enumerate(regions)}
    region_names = [list(own) for _, _, _, own in countries]
    of_country = np.array([number.get(c, -1) for c in country], np.int32)
    codes = [f"{c}.{d}" for c, d in zip(country, division, strict=True)]
    for code, own in divisions.items():
        number[code] = len(regions)
        regions.append(Region(code, own[0], 0.0, 0.0))
        region_names.append(own)
    of_division = np.array([number.get(c, -1) for c in codes], np.int32)
    points = s2.xyz(lat, lon)
    sums = np.zeros((len(regions), 3))
    np.add.at(sums, of_division[of_division >= 0], points[of_division >= 0])
    at_lat, at_lon = s2.latlon(sums)  # a division lies where its places do
    for n in range(len(countries), len(regions)):
        regions[n] = regions[n]._replace(lat=float(at_lat[n]), lon=float(at_lon[n]))
    hashes, rows = [], []
    for row, (name, others) in enumerate(zip(names, alternates, strict=True)):
        own = words.name_key(name)
        hashes.append(own)
        rows.append(2 * row)
        for h in {words.name_key(o) for o in others.split("|") if o} - {own, 0}:
            hashes.append(h)
            rows.append(2 * row + 1)
    region_hashes = [(words.name_key(n), r) for r, own in enumerate(region_names) for n in own if n]
    pairs = sorted({p for p in region_hashes if p[0]}, key=lambda p: p[1])
    return Gazetteer(
        np.array(ids, np.int64), list(names), lat, lon, of_country, of_division,
        np.array(population, np.int64), points, regions, len(countries),
        words.Index(np.array(hashes), np.array(rows)),
        words.Index(np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])),
        list(alternates), region_names, tuple(notices), origin, _codes(regions), alpha3 or {},
        frozenset(words.name_key(d) for d in demonyms),
    )  # fmt: skip


def region_weights(gazetteer: Gazetteer, leaf: np.ndarray, leaves: int, rows: np.ndarray):
    """Places of each region in each leaf: (region, leaf, count) of what is not 0."""
    found = []
    for column in (gazetteer.country, gazetteer.admin1):
        region = column[rows]
        known = region >= 0
        code = region[known].astype(np.int64) * leaves + leaf[known]
        own, count = np.unique(code, return_counts=True)
        found.append((own // leaves, own % leaves, count))
    return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))


def _codes(regions: list[Region]) -> dict[str, list[int]]:
    """The divisions by the letters that stand for them, where they are letters."""
    found: dict[str, list[int]] = {}
    for n, region in enumerate(regions):
        own = region.code.partition(".")[2]
        if len(own) == 2 and own.isalpha() and own.isascii():
            found.setdefault(own.upper(), []).append(n)
    return found


def divisions(path: pathlib.Path) -> dict[str, list[str]]:
    """COUNTRY.CODE -> names of each first-level division: GeoNames', then those of `historic`."""
    found, besides = {}, historic.names()
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            code, name, plain = line.rstrip("\n").split("\t")[:3]
            found[code] = list(dict.fromkeys([name, plain, *besides.get(code, ())]))
    return found


def _places(path: pathlib.Path):
    with gzip.open(path, "rt", encoding="utf-8") as file:
        next(file, None)  # the names of the columns
        for line in file:
            cells = line.rstrip("\n").split("\t")
            number, name, lat, lon, country, division, population = cells[:7]
            yield (
                int(number), name, float(lat), float(lon), country, division, int(population),
                cells[8],
            )  # fmt: skip


def _countries(path: pathlib.Path):
    """(alpha-3, (code, lat, lon, names), demonyms) of each; names: usual, official, translated,
    demonyms."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for one in json.load(file):
            names = [one["name"]["common"], one["name"]["official"]]
            for group in (one["translations"], one["name"].get("native") or {}):
                names += [n for pair in group.values() for n in (pair["common"], pair["official"])]
            # two-letter spellings are words of many languages
            names += [n for n in one.get("altSpellings", ()) if len(n) > 2]
            people = [n for pair in one.get("demonyms", {}).values() for n in pair.values()]
            people = [n for n in dict.fromkeys(people) if n and n not in names]
            names += people
            if one["cca2"] == "US":
                names += ["USA", "U.S.", "U.S.A."]
            if one["cca2"] == "GB":
                names += ["UK", "U.K.", "Great Britain", "Britain", "England", "Scotland", "Wales",
                          "Northern Ireland"]  # fmt: skip
            kept = list(dict.fromkeys(n for n in names if n))
            yield one["cca3"], (one["cca2"], one["latlng"][0], one["latlng"][1], kept), people
