"""The OpenAPI description of the service."""

_TYPES = {
    "number": {"type": "number"},
    "integer": {"type": "integer"},
    "string": {"type": "string"},
}


def _parameters(names: str):
    """From `q! limit:integer`: `!` marks what must be there."""
    found = []
    for word in names.split():
        name, _, kind = word.partition(":")
        needed = name.endswith("!")
        schema = _TYPES[kind or "string"]
        found.append(
            {"name": name.rstrip("!"), "in": "query", "required": needed, "schema": schema}
        )
    return found


def _route(summary: str, names: str = "", method: str = "get", also: str = "", **more):
    """A route; `also` are statuses that it has beside the usual ones."""
    answers = {"200": {"description": "the answer"}}
    if names or method == "post":
        problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
        refusal = {"description": "one sentence says why", "content": problem}
        answers |= dict.fromkeys(("400", "503", *also.split()), refusal)
    return {
        method: {"summary": summary, "parameters": _parameters(names), "responses": answers, **more}
    }


_TEXTS = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "array",
                    "maxItems": 5000,
                    "items": {
                        "oneOf": [
                            {"type": "string"},
                            {
                                "type": "object",
                                "required": ["text"],
                                "properties": {"text": {"type": "string"}, "id": {}},
                            },
                        ]
                    },
                }
            },
            "application/x-ndjson": {"schema": {"type": "string"}},
        },
    }
}

_PELIAS = (
    "text! size:integer boundary.country boundary.rect.min_lat:number"
    " boundary.rect.max_lat:number boundary.rect.min_lon:number"
    " boundary.rect.max_lon:number focus.point.lat:number focus.point.lon:number"
    " residual:number"
)

SCHEMA = {
    "openapi": "3.1.0",
    "info": {
        "title": "Geocoder",
        "version": "1.0",
        "description": (
            "Free text to a place, with probabilities. A text may have 10,000 characters."
            " Names come as GeoNames writes them in Latin script, of countries in English, in"
            " whatever language is asked for (accept-language, lang). A query that is two numbers"
            " is a point, latitude first, and answered as /reverse does; points more than 100 km"
            " from every place have no answer. Places are points: a place's box (boundingbox,"
            " extent, bbox) is a square around it with sides of 36 km for 100,000 people and more,"
            " 9 km from 10,000 on, else 4.4 km; an answer that is no place has the box of its cell."
            " polygon_geojson gives the region of the answer that holds it with a probability of"
            " 80 %, and other places' points. Parameters that are not listed have no effect, and"
            " the header x-ignored-parameters names them; those of the emulated services that"
            " would leave results out or give them another shape (layer, layers, sources,"
            " featureType, osm_tag, boundary.circle, boundary.gid, polygon_text, polygon_kml,"
            " polygon_svg, json_callback) are refused."
        ),
    },
    "components": {
        "schemas": {
            "Problem": {
                "type": "object",
                "required": ["title", "status", "detail"],
                "properties": {
                    "title": {"type": "string"},
                    "status": {"type": "integer"},
                    "detail": {"type": "string"},
                },
            }
        }
    },
    "paths": {
        "/search": _route(
            "as Nominatim: q, or an address in parts, of which one must be there; json (lat and lon"
            " are strings), jsonv2, geojson, geocodejson; viewbox is"
            " two opposite corners, which cross longitude 180 if the first is the eastern one and"
            " more than 180 degrees lie between them; with bounded=1 nothing outside is found,"
            " without it what is inside comes first",
            "q amenity street city county state country postalcode format limit:integer"
            " countrycodes viewbox bounded addressdetails polygon_geojson exclude_place_ids"
            " residual:number",
        ),
        "/reverse": _route(
            "as Nominatim: the nearest place, and the path of the cell; json, jsonv2, geojson or"
            " geocodejson; as Photon, if there is no format but a parameter that only Photon has:"
            " limit, radius (km), lang, distance_sort or dedupe",
            "lat!:number lon!:number format addressdetails polygon_geojson limit:integer"
            " radius:number",
        ),
        "/status": _route("as Nominatim"),
        "/v1/search": _route(
            "as Pelias; countries as two letters or three; boundary.rect needs its four edges and"
            " crosses longitude 180 if min_lon is above max_lon; what is near focus.point comes"
            " first",
            _PELIAS,
        ),
        "/v1/autocomplete": _route("as Pelias; the same as search", _PELIAS),
        "/v1/reverse": _route("as Pelias", "point.lat!:number point.lon!:number"),
        "/api": _route(
            "as Photon; bbox is west,south,east,north and crosses longitude 180 if west is above"
            " east; what is near lat and lon comes first",
            "q! limit:integer bbox lat:number lon:number residual:number",
        ),
        "/geocoding": _route(
            "the paper's answer: confidences coarse to fine, boxes and rings fine to coarse",
            "text! residual:number",
            also="404",
        ),
        "/locate": _route(
            "everything: point, place, nested cells, the region of a mass as GeoJSON",
            "text! mass:number residual:number",
        ),
        "/mentions": _route(
            "every place, division and country that a paragraph names, with offsets; `least` is"
            " the probability of being a place below which a name is left out",
            "text! least:number",
            also="501",
        ),
        "/batch": _route(
            "many texts: a JSON list, or one JSON value a line, answered in kind; in the place of"
            " a text that cannot be geocoded stands an error",
            "residual:number",
            "post",
            also="408 413 422",
            **_TEXTS,
        ),
        "/healthz": _route("the process lives"),
        "/readyz": _route("the queue has room: 200, else 503"),
        "/metrics": _route("counters for Prometheus"),
        "/outlines": _route("borders for the map page"),
        "/": _route("the map page"),
        "/docs": _route("this, for people"),
        "/openapi.json": _route("this"),
    },
}
