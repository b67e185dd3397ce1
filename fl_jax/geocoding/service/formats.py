"""Answers in the shapes of Nominatim, Pelias, Photon, the paper, and our own."""

import math
import time
from typing import NamedTuple

import numpy as np

from fl_jax.geocoding import density, geojson, s2
from fl_jax.geocoding.area import Area
from fl_jax.geocoding.gazetteer import Gazetteer
from fl_jax.geocoding.geocoder import Answer, Geocoder
from fl_jax.geocoding.mention import Mention

ENGINE = {"name": "fl-jax geocoding", "version": "1.0"}
REGION = 0.8  # mass of the region that is drawn
REVERSE_KM = 100.0  # a point that is farther from every place is at none
REVERSE_SCALE_KM = 30.0  # in which confidence that a point belongs to a place falls to 1/e
# People from whom on a place is so large: half a side of its box in km. Places are points; these
# are the boxes that Nominatim gives to points that are a city, a town or a village (0.16, 0.04 and
# 0.02 degrees), by the number of people that OpenStreetMap's conventions call these three by.
EXTENTS_KM = ((100_000, 18.0), (10_000, 4.5), (0, 2.2))


class Hit(NamedTuple):
    """One result: the answer itself, or another place that the text names."""

    lat: float
    lon: float
    row: int  # of the gazetteer, -1 if none
    name: str
    display: str
    confidence: float
    answer: Answer | None  # that it is, None for other places
    country: int  # region of the place, or of the one that a point is near; -1 if unknown


def mention(places: Gazetteer, text: str, found: Mention) -> dict:
    """A place, division or country that a text names."""
    body = {"start": found.start, "end": found.end, "name": text[found.start : found.end]}
    if found.row >= 0:
        body |= {
            "type": "place",
            "geonameid": int(places.ids[found.row]),
            "display_name": places.display(found.row),
            "country": places.country_code(found.row),
            "lat": float(places.lat[found.row]),
            "lon": float(places.lon[found.row]),
        }
    else:
        region = places.regions[found.region]
        kind = "country" if found.region < places.countries else "division"
        country, _, division = region.code.partition(".")
        body |= {"type": kind, "display_name": region.name, "country": country}
        body |= {"division": division} if division else {}
        body |= {"lat": region.lat, "lon": region.lon}
    rounded = {"probability": found.probability, "place_probability": found.place}
    return body | {name: round(p, 6) for name, p in rounded.items()}


class Reversed(NamedTuple):
    """The place that a point belongs to."""

    hit: Hit
    km: float  # between the two
    cell: str  # path of the level-12 cell that holds the point


def hits(
    geocoder: Geocoder, answer: Answer, within: Area = Area(), least: float = 0.01
) -> list[Hit]:
    """The answer first, then the other places named, likeliest first.

    Args:
        geocoder: of the answer.
        answer: to a text, asked for with the same area.
        within: where the results lie; preferred ones come first. Where it leaves something out,
            the places named count even if the answer lies outside or is withheld.
        least: probability of another place.
    """
    places = geocoder.gazetteer
    found, seen = [], set()
    if answer.found:
        near = answer.place if answer.place >= 0 else places.nearest(answer.lat, answer.lon)[0]
        if within.holds(answer.lat, answer.lon, places.country_code(near)):
            own = (answer.lat, answer.lon, answer.place, *label(geocoder, answer))
            found.append(Hit(*own, answer.confidence, answer, int(places.country[near])))
            seen.add(answer.place)
    elif not within.restricts:
        return []
    for row, p in answer.alternatives:
        if p >= least and row not in seen:
            seen.add(row)
            found.append(place_hit(geocoder, row, p))
    if within.near or within.preferred:
        found.sort(key=lambda h: -h.confidence * float(within.likelier(h.lat, h.lon)))
    return found


def place_hit(geocoder: Geocoder, row: int, confidence: float) -> Hit:
    """A place of the gazetteer as a result."""
    places = geocoder.gazetteer
    at = float(places.lat[row]), float(places.lon[row])
    named = places.names[row], places.display(row)
    return Hit(*at, row, *named, confidence, None, int(places.country[row]))


def label(geocoder: Geocoder, answer: Answer) -> tuple[str, str]:
    """(name, name with regions) of an answer: its place, or how far the point is from one."""
    places = geocoder.gazetteer
    if answer.place >= 0:
        return places.names[answer.place], places.display(answer.place)
    row, km = places.nearest(answer.lat, answer.lon)
    away = f"about {max(round(km), 1)} km from"
    return f"{away} {places.names[row]}", f"{away} {places.display(row)}"


def region(geocoder: Geocoder, answer: Answer, mass: float = REGION) -> dict:
    """The smallest region that holds the truth with this probability, as a MultiPolygon."""
    needed = geocoder.calibration.region_mass(mass)
    spread = geocoder.inside(answer.cells, answer.points)
    return geojson.multipolygon(*density.region(spread, needed))


def outline(geocoder: Geocoder, hit: Hit) -> dict:
    """The region of an answer as a MultiPolygon; of another place its point: it has no more."""
    return point(hit) if hit.answer is None else region(geocoder, hit.answer)


def bounds(geocoder: Geocoder, hit: Hit) -> tuple[float, float, float, float]:
    """(west, south, east, north): around a place, as large as it is; of a point, its cell's."""
    if hit.row < 0:
        return geojson.box(*_cell(geocoder, hit))
    people = int(geocoder.gazetteer.population[hit.row])
    km = next(half for least, half in EXTENTS_KM if people >= least)
    return geojson.square(hit.lat, hit.lon, km)


def address(geocoder: Geocoder, hit: Hit) -> dict:
    """The parts of an address that a place has; of a point, the country."""
    places, found = geocoder.gazetteer, {}
    if hit.row >= 0:
        found["city"] = places.names[hit.row]
        division = int(places.admin1[hit.row])
        if division >= 0:
            found["state"] = places.regions[division].name
    if hit.country >= 0:
        found["country"] = places.regions[hit.country].name
        found["country_code"] = places.regions[hit.country].code.lower()
    return found


def identifier(geocoder: Geocoder, hit: Hit) -> int:
    """The GeoNames id, or a number above all of them that belongs to the level-12 cell."""
    if hit.row >= 0:
        return int(geocoder.gazetteer.ids[hit.row])
    return 10**9 + int(s2.key(hit.lat, hit.lon, 12))


def nominatim(
    geocoder: Geocoder,
    found: list[Hit],
    kind: str,
    *,
    details: bool = False,
    polygon: bool = False,
    query: str | None = None,
):
    """A list for `json` and `jsonv2`, a FeatureCollection for `geojson` and `geocodejson`.

    Args:
        geocoder: of the results.
        found: results.
        kind: one of these four.
        details: whether the parts of the address come with them.
        polygon: whether outlines do.
        query: that `geocodejson` repeats.
    """
    licence = " ".join(geocoder.gazetteer.notices)
    rows = []
    for hit in found:
        west, south, east, north = bounds(geocoder, hit)
        row = {
            "place_id": identifier(geocoder, hit),
            "licence": licence,
            "lat": f"{hit.lat:.7f}",
            "lon": f"{hit.lon:.7f}",
            ("class" if kind == "json" else "category"): "place",
            "type": "city" if hit.row >= 0 else "region",
            "place_rank": 16 if hit.row >= 0 else 8,
            "importance": round(hit.confidence, 6),
            "addresstype": "city" if hit.row >= 0 else "region",
            "name": hit.name,
            "display_name": hit.display,
            "boundingbox": [f"{v:.7f}" for v in (south, north, west, east)],
        }
        if details:
            row["address"] = address(geocoder, hit)
        rows.append((row, (west, south, east, north), hit))
    if kind in ("json", "jsonv2"):
        for row, _, hit in rows:
            if polygon:
                row["geojson"] = outline(geocoder, hit)
        return [row for row, _, _ in rows]
    features = []
    for row, box, hit in rows:
        own = {k: v for k, v in row.items() if k not in ("lat", "lon", "licence", "boundingbox")}
        if kind == "geocodejson":  # which has the parts of an address among the others
            parts = own.pop("address", {})
            names = {"osm_key": "place", "osm_value": row["type"], "label": row["display_name"]}
            own = {"geocoding": {**own, **names, **parts}}
        geometry = outline(geocoder, hit) if polygon else point(hit)
        if geometry["type"] != "Point":
            own["point"] = [round(hit.lon, 7), round(hit.lat, 7)]
            box = geojson.bounds(geometry)
        features.append(feature(geometry, own, box))
    head = {"licence": licence}
    if kind == "geocodejson":
        head = {"geocoding": {"version": "0.1.0", "attribution": licence, "query": query}}
    return {"type": "FeatureCollection", **head, "features": features}


def pelias(geocoder: Geocoder, found: list[Hit], query: dict, now: float | None = None) -> dict:
    """A FeatureCollection as Pelias has it."""
    features = []
    for hit in found:
        where = address(geocoder, hit)
        source = "geonames" if hit.row >= 0 else "cells"
        number = identifier(geocoder, hit)
        properties = {
            "id": str(number),
            "gid": f"{source}:locality:{number}",
            "layer": "locality" if hit.row >= 0 else "region",
            "source": source,
            "name": hit.name,
            "label": hit.display,
            "confidence": round(hit.confidence, 6),
            "match_type": "exact" if hit.row >= 0 else "interpolated",
            "accuracy": "centroid",
        }
        if "country" in where:
            properties |= {
                "country": where["country"],
                "country_code": where["country_code"].upper(),
                "region": where.get("state"),
                "locality": where.get("city"),
            }
        features.append(feature(point(hit), properties, bounds(geocoder, hit)))
    together = {"bbox": geojson.union([f["bbox"] for f in features])} if features else {}
    return {
        "geocoding": {
            "version": "0.2",
            "attribution": " ".join(geocoder.gazetteer.notices),
            "query": query,
            "engine": ENGINE,
            "timestamp": int(1000 * (time.time() if now is None else now)),
        },
        "type": "FeatureCollection",
        "features": features,
        **together,
    }


def photon(geocoder: Geocoder, found: list[Hit]) -> dict:
    """A FeatureCollection as Photon has it; its `extent` is west, north, east, south."""
    features = []
    for hit in found:
        west, south, east, north = bounds(geocoder, hit)
        where = address(geocoder, hit)
        properties = {
            "osm_key": "place",
            "osm_value": "city" if hit.row >= 0 else "region",
            "type": "city" if hit.row >= 0 else "region",
            "name": hit.name,
            "extent": [round(v, 7) for v in (west, north, east, south)],
        }
        if "country" in where:
            properties["country"] = where["country"]
            properties["countrycode"] = where["country_code"].upper()
            if "state" in where:
                properties["state"] = where["state"]
        features.append(feature(point(hit), properties, (west, south, east, north)))
    return {"type": "FeatureCollection", "features": features}


def paper(geocoder: Geocoder, answer: Answer) -> list[dict]:
    """The paper's own shape: confidences from coarse to fine, boxes and rings from fine to coarse,
    faces left out of the latter two [Solaz & Shalumov 2023, their REST application]."""
    partition = geocoder.partition
    fine = [node for node, _ in answer.nested if partition.level[node] >= 1][::-1]
    boxes, rings = [], []
    for node in fine:
        key, level = int(partition.key[node]), int(partition.level[node])
        west, south, east, north = geojson.box(key, level)  # cells below faces end at 180
        boxes.append([south, north, west, east])
        lat, lon = s2.latlon(s2.corners(key, level))
        # A corner on longitude 180 has the sign of its cell, and a pole the cell's middle.
        lon = np.where(np.abs(lon) > 179.999999, np.copysign(180.0, west + east), lon)
        lon = np.where(np.abs(lat) > 89.999999, (west + east) / 2, lon)
        order = [0, 1, 2, 3, 0]
        rings.append([round(float(v), 7) + 0.0 for n in order for v in (lon[n], lat[n])])  # no -0
    return [
        {
            "display_name": answer.text,
            "confidence": [round(p, 6) for _, p in answer.nested],
            "boundingboxes": boxes,
            "levels_polygons": rings,
        }
    ]


def ours(geocoder: Geocoder, answer: Answer, *, polygon: float | None = None) -> dict:
    """Everything that is known of one answer."""
    partition, places = geocoder.partition, geocoder.gazetteer
    found = {
        "found": answer.found,
        "lat": round(answer.lat, 6) if answer.found else None,
        "lon": round(answer.lon, 6) if answer.found else None,
        "confidence": round(answer.confidence, 6),
        "residual": round(answer.residual, 6),
        "cells": [
            {"path": partition.label(node), "level": int(partition.level[node]), "p": round(p, 6)}
            for node, p in answer.nested
        ],
        "place": None,
    }
    if answer.found and answer.place >= 0:
        row = answer.place
        found["place"] = {
            "geonameid": int(places.ids[row]),
            "name": places.names[row],
            "display_name": places.display(row),
            "country": places.country_code(row),
            "population": int(places.population[row]),
        }
    if polygon is not None:
        found["region"] = {"mass": polygon, "geometry": region(geocoder, answer, polygon)}
    return found


def reverse(geocoder: Geocoder, lat: float, lon: float) -> Reversed | None:
    """The place nearest to a point; None where none is within `REVERSE_KM`."""
    row, km = geocoder.gazetteer.nearest(lat, lon)
    if km > REVERSE_KM:
        return None
    hit = place_hit(geocoder, row, math.exp(-km / REVERSE_SCALE_KM))
    return Reversed(hit, km, s2.text(int(s2.key(lat, lon, 12)), 12))


def at(geocoder: Geocoder, lat: float, lon: float, within: Area) -> list[Hit]:
    """The results of a query that is a point: the place it belongs to, if it lies in the area."""
    found = reverse(geocoder, lat, lon)
    if found is None or not within.holds(lat, lon, geocoder.gazetteer.country_code(found.hit.row)):
        return []
    return [found.hit]


def feature(geometry: dict, properties: dict, box) -> dict:
    """A GeoJSON feature with a bbox of west, south, east, north."""
    return {
        "type": "Feature",
        "bbox": [round(float(v), 7) for v in box],
        "geometry": geometry,
        "properties": properties,
    }


def point(hit: Hit) -> dict:
    """A GeoJSON point."""
    return {"type": "Point", "coordinates": [round(hit.lon, 7), round(hit.lat, 7)]}


def _cell(geocoder, hit) -> tuple[int, int]:
    """(key, level) of the cell that holds an answer, as large as the likeliest leaf."""
    nested = hit.answer.nested
    level = int(geocoder.partition.level[nested[-1][0]]) if nested else 0
    return int(s2.key(hit.lat, hit.lon, level)), level
