"""What each address answers: plain content from the parameters of a request, without a server."""

import functools
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import numpy as np

from fl_jax.geocoding import mention, words
from fl_jax.geocoding.area import Area
from fl_jax.geocoding.gazetteer import Region
from fl_jax.geocoding.geocoder import Answer, Geocoder
from fl_jax.geocoding.service import formats, parameters
from fl_jax.geocoding.service.parameters import Refused
from fl_jax.geocoding.service.worker import Worker, steps

SHAPES = ("json", "jsonv2", "geojson", "geocodejson")  # of Nominatim's answers
PHOTON = ("limit", "radius", "lang", "distance_sort", "dedupe")  # reverse parameters it has alone
STRUCTURED = ("amenity", "street", "city", "county", "state", "country", "postalcode")

Query = Mapping[str, str]


class Handlers:
    """Answers of a geocoder, as what JSON can hold; each method takes a request's parameters.

    All of them raise `Refused` for parameters that cannot be served.

    Args:
        geocoder: whose gazetteer is looked into.
        worker: that computes and writes.
    """

    def __init__(self, geocoder: Geocoder, worker: Worker):
        self.geocoder, self.worker, self.places = geocoder, worker, geocoder.gazetteer
        self.alpha2 = {r.code: r.code for r in self.places.regions[: self.places.countries]}
        self.either = {**self.alpha2, **self.places.alpha3}

    async def search(self, query: Query) -> Any:
        """Nominatim's /search, free or structured."""
        kind, q = _shape(query), query.get("q")
        countries = parameters.countries(query, "countrycodes", self.alpha2)
        parts = {n: query[n] for n in STRUCTURED if query.get(n)}
        if q is not None and parts:
            raise Refused(400, f"{next(iter(parts))!r} cannot come together with 'q'; give either.")
        if q is None:
            country = self._country(parts.get("country", ""))
            if country is not None:
                parts["country"] = country.name
                if len(parts) > 1:  # what lies in a country does so, as Nominatim has it
                    countries = countries or frozenset({country.code})
            q = ", ".join(parts.values()) or None
        count = parameters.limit(query, "limit", 10)
        box = parameters.corners(query, "viewbox")
        where = {"box" if parameters.truth(query, "bounded") else "preferred": box}
        within = Area(countries, **where)
        excluded = parameters.numbers(query, "exclude_place_ids")
        asked = {
            "polygon": parameters.truth(query, "polygon_geojson"),
            "details": parameters.truth(query, "addressdetails"),
            "query": q,
        }
        found = await self._hits({**query, "q": q}, "q", within)
        if excluded:
            found = [h for h in found if formats.identifier(self.geocoder, h) not in excluded]
        return await self.worker.call(
            lambda: formats.nominatim(self.geocoder, found[:count], kind, **asked)
        )

    async def pelias(self, query: Query) -> Any:
        """Pelias' /v1/search and /v1/autocomplete."""
        size = parameters.limit(query, "size", 10)
        within = Area(
            parameters.countries(query, "boundary.country", self.either),
            parameters.rectangle(query, "boundary.rect"),
            parameters.point(query, "focus.point.lat", "focus.point.lon"),
        )
        found = (await self._hits(query, "text", within))[:size]
        asked = {"text": query.get("text"), "size": size}
        return await self.worker.call(formats.pelias, self.geocoder, found, asked)

    async def photon(self, query: Query) -> Any:
        """Photon's /api."""
        count = parameters.limit(query, "limit", 10)
        near = parameters.point(query, "lat", "lon")
        within = Area(box=parameters.box(query, "bbox"), near=near)
        found = (await self._hits(query, "q", within))[:count]
        return await self.worker.call(formats.photon, self.geocoder, found)

    async def paper(self, query: Query) -> Any:
        """The paper's /geocoding."""
        answer = await self._answer(query, "text")
        if not answer.found:
            raise Refused(404, "no cell is likely enough for this text.")
        return await self.worker.call(formats.paper, self.geocoder, answer)

    async def locate(self, query: Query) -> Any:
        """All that is known of one text, with a region of the mass that is asked for."""
        mass = parameters.number(query, "mass", 0.01, 0.99, formats.REGION)
        answer = await self._answer(query, "text")
        return await self.worker.call(lambda: formats.ours(self.geocoder, answer, polygon=mass))

    async def mentions(self, query: Query) -> Any:
        """The places that a text names, with where in it."""
        text = parameters.text(query.get("text"), "text")
        least = parameters.number(query, "least", 0, 1, mention.LEAST)
        if self.geocoder.told is None:
            raise Refused(
                501,
                "this geocoder cannot tell names from words; calibrate it again:"
                " python -m experiments geocoding calibrate RUN.",
            )
        look = functools.partial(mention.mentions, least=least)
        found = await self.worker.read(look, text)
        return [formats.mention(self.places, text, m) for m in found]

    async def reverse(self, query: Query) -> Any:
        """Nominatim's /reverse, and Photon's where only Photon has a parameter that is given."""
        if "format" not in query and any(name in query for name in PHOTON):
            return await self._photon_reverse(query)
        kind = _shape(query)
        asked = {
            "polygon": parameters.truth(query, "polygon_geojson"),
            "details": parameters.truth(query, "addressdetails", True),
        }
        point, found = await self._nearest(query)
        if found is None:
            return {"error": "Unable to geocode"}
        asked["query"] = ",".join(f"{v:g}" for v in point.values())
        written = await self.worker.call(
            lambda: formats.nominatim(self.geocoder, [found.hit], kind, **asked)
        )
        if kind in ("geojson", "geocodejson"):
            return written
        return {**written[0], "distance_km": round(found.km, 3), "cell": found.cell}

    async def pelias_reverse(self, query: Query) -> Any:
        """Pelias' /v1/reverse."""
        asked, found = await self._nearest(query)
        body = formats.pelias(self.geocoder, [found.hit] if found else [], asked)
        for feature in body["features"]:
            feature["properties"] |= {"distance": round(found.km, 3), "cell": found.cell}
        return body

    async def batch(self, query: Query, items: Sequence[dict]) -> AsyncIterator[dict]:
        """A row for each item, as they are computed; only the first step can be refused."""
        mass = _residual(query)
        for start, after in steps([i.get("text", "") for i in items]):
            some = items[start:after]
            texts = [i["text"] for i in some if "text" in i]
            answers = iter(await self.worker.geocode(texts, mass, wait=start > 0))
            for item in some:
                name = {"id": item["id"]} if "id" in item else {}
                if "text" in item:
                    yield {**name, **formats.ours(self.geocoder, next(answers))}
                else:
                    yield {**name, "found": False, "error": item["error"]}

    async def _photon_reverse(self, query: Query) -> Any:
        parameters.limit(query, "limit", 1)  # there is one place at most
        reach = parameters.number(query, "radius", 0, 5000, formats.REVERSE_KM)
        _, found = await self._nearest(query)
        near = found is not None and found.km <= reach
        return formats.photon(self.geocoder, [found.hit] if near else [])

    async def _answer(self, query: Query, name: str, within: Area = Area()) -> Answer:
        text = parameters.text(query.get(name), name)
        return (await self.worker.geocode([text], _residual(query), within))[0]

    async def _hits(self, query: Query, name: str, within: Area):
        """The results of a query; one that is a point has what is found there."""
        point = parameters.coordinates(query.get(name))
        if point is None:
            answer = await self._answer(query, name, within)
            return await self.worker.call(formats.hits, self.geocoder, answer, within)
        return await self.worker.call(formats.at, self.geocoder, *point, within)

    def _country(self, name: str) -> Region | None:
        """The country of a code or a name in any language; None if it is none, or several."""
        code = self.either.get(name.strip().upper())
        countries = self.places.regions[: self.places.countries]
        if code is not None:
            return next(r for r in countries if r.code == code)
        first, after = self.places.region_index.find(np.array([words.name_key(name)]))
        rows = self.places.region_index.rows[first[0] : after[0]]
        rows = rows[rows < self.places.countries]
        return countries[rows[0]] if len(rows) == 1 else None

    async def _nearest(self, query: Query):
        """(the point as it was named, what is there), under Nominatim's names or Pelias'."""
        theirs = "point.lat" in query or "point.lon" in query
        names = ("point.lat", "point.lon") if theirs else ("lat", "lon")
        lat = parameters.number(query, names[0], -90, 90)
        lon = parameters.number(query, names[1], -180, 180)
        found = await self.worker.call(formats.reverse, self.geocoder, lat, lon)
        return dict(zip(names, (lat, lon), strict=True)), found


def _residual(query: Query) -> float:
    return parameters.number(query, "residual", 0.0, 0.999, parameters.RESIDUAL)


def _shape(query: Query) -> str:
    kind = query.get("format", "jsonv2")
    if kind not in SHAPES:
        raise Refused(400, "format should be json, jsonv2, geojson or geocodejson.")
    return kind
