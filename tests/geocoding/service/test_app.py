"""The service: every API's shape, limits, overload, fuzz; no text of a query in the log."""

import asyncio
import copy
import importlib.util
import json
import logging
import pathlib
import random

import numpy as np
import pytest

from fl_jax.geocoding import evidence, geojson, sphere
from fl_jax.geocoding.service import app as application
from fl_jax.geocoding.service import formats, openapi, page

_spec = importlib.util.spec_from_file_location(
    "client", pathlib.Path(__file__).parent / "client.py"
)
client = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(client)


@pytest.fixture(scope="module")
def app(geocoder):
    pytest.importorskip("starlette")
    return application.make(geocoder)


def test_as_nominatim(app):
    (row,) = client.get(app, "/search", q="Москва", format="json", limit="1").json()
    assert row["display_name"] == "Moscow, Russia"
    assert float(row["lat"]) == pytest.approx(55.75)
    assert isinstance(row["lat"], str) and isinstance(row["lon"], str)
    south, north, west, east = map(float, row["boundingbox"])
    assert south < 55.75 < north and west < 37.62 < east
    body = client.get(app, "/search", q="Lyon", format="geojson", polygon_geojson="1").json()
    assert body["features"][0]["geometry"]["type"] == "MultiPolygon"
    assert client.get(app, "/search", q="Lyon", countrycodes="jp").json() == []
    inside = {"viewbox": "0,40,10,50", "bounded": "1"}
    assert client.get(app, "/search", q="Lyon", **inside).json()
    assert client.get(app, "/search", city="Lyon", country="France").json()
    assert client.get(app, "/search", q="zzz qqq").json() == []
    row = client.get(app, "/reverse", lat="48.8", lon="2.4").json()
    assert row["display_name"] == "Paris, France" and row["cell"].startswith("2033")


def test_an_address_in_parts_lies_in_its_country(app):
    for country in ("Canada", "CA", "canada "):
        (first, *_) = client.get(app, "/search", city="London", country=country).json()
        assert first["display_name"] == "London, Canada"
    (first, *_) = client.get(app, "/search", city="London", country="GB").json()
    assert first["display_name"] == "London, United Kingdom"
    free = client.get(app, "/search", q="Nowhere").json()
    assert client.get(app, "/search", country="Nowhere").json() == free
    names = [p["name"] for p in openapi.SCHEMA["paths"]["/search"]["get"]["parameters"]]
    needed = [p for p in openapi.SCHEMA["paths"]["/search"]["get"]["parameters"] if p["required"]]
    assert {"q", "city", "country"} <= set(names) and not needed


def test_as_pelias_photon_and_the_paper(app):
    body = client.get(app, "/v1/search", text="Lyon", size="2").json()
    assert body["geocoding"]["query"]["text"] == "Lyon"
    properties = body["features"][0]["properties"]
    assert properties["country"] == "France" and 0 <= properties["confidence"] <= 1
    body = client.get(app, "/api", q="Lyon").json()
    west, north, east, south = body["features"][0]["properties"]["extent"]
    assert west < east and south < north
    assert body["features"][0]["bbox"] == [west, south, east, north]
    (answer,) = client.get(app, "/geocoding", text="Lyon").json()
    assert len(answer["boundingboxes"]) == len(answer["levels_polygons"])
    assert len(answer["confidence"]) == len(answer["boundingboxes"]) + 1  # the face has no box
    assert answer["confidence"] == sorted(answer["confidence"], reverse=True)
    assert all(len(ring) == 10 and ring[:2] == ring[-2:] for ring in answer["levels_polygons"])
    assert client.get(app, "/geocoding", text="zzz qqq").status == 404
    body = client.get(app, "/v1/reverse", point__lat="48.8", point__lon="2.4").json()
    assert body["features"][0]["properties"]["locality"] == "Paris"


def test_a_filter_reaches_what_a_name_has_many_bearers_of(app, monkeypatch):
    monkeypatch.setattr(evidence, "PER_NAME", 1)
    paths = (("/search", {"q": "Paris", "countrycodes": "us"}),
             ("/search", {"q": "Paris", "viewbox": "-90,30,-100,40", "bounded": "1"}),
             ("/v1/search", {"text": "Paris", "boundary.country": "US"}),
             ("/v1/search", {"text": "Paris", "boundary.rect.min_lon": "-100",
                             "boundary.rect.max_lon": "-90", "boundary.rect.min_lat": "30",
                             "boundary.rect.max_lat": "40"}),
             ("/api", {"q": "Paris", "bbox": "-100,30,-90,40"}))  # fmt: skip
    for path, query in paths:
        body = asyncio.run(client.ask(app, "GET", path, query)).json()
        rows = body if isinstance(body, list) else [f["properties"] for f in body["features"]]
        assert [row["name"] for row in rows] == ["Paris"], (path, query)
    assert client.get(app, "/search", q="Paris", countrycodes="us").json()[0]["lat"] < "40"
    assert client.get(app, "/search", q="zzz qqq", countrycodes="us").json() == []


def test_countries_of_three_letters(geocoder):
    pytest.importorskip("starlette")
    known = geocoder.known
    other = copy.copy(geocoder)
    other.known = known._replace(gazetteer=known.gazetteer._replace(alpha3={"USA": "US"}))
    app = application.make(other)
    body = client.get(app, "/v1/search", text="Paris", boundary__country="USA").json()
    assert {f["properties"]["country_code"] for f in body["features"]} == {"US"}


@pytest.mark.parametrize(
    ("path", "query"),
    [("/search", {"q": "Paris", "viewbox": "-100,30,-90,40"}),
     ("/v1/search", {"text": "Paris", "focus.point.lat": "33.6", "focus.point.lon": "-95.5"}),
     ("/api", {"q": "Paris", "lat": "33.6", "lon": "-95.5"})],
)  # fmt: skip
def test_what_is_near_comes_first(app, path, query):
    body = asyncio.run(client.ask(app, "GET", path, query)).json()
    one = body[0] if isinstance(body, list) else body["features"][0]["properties"]
    assert (one.get("display_name") or one["country"]).endswith("United States")


def test_a_query_that_is_a_point(app):
    (row,) = client.get(app, "/search", q="48.8, 2.4", format="json").json()
    assert row["display_name"] == "Paris, France" and 0.5 < row["importance"] < 1
    assert client.get(app, "/api", q="48.8,2.4").json()["features"][0]["properties"]["name"] == (
        "Paris"
    )
    for query in ({"text": "48.8 2.4"}, {"text": "48.8,2.4", "boundary__country": "FR"}):
        (one,) = client.get(app, "/v1/search", **query).json()["features"]
        assert one["properties"]["locality"] == "Paris"
    assert client.get(app, "/search", q="48.8,2.4", countrycodes="us").json() == []
    assert client.get(app, "/search", q="-40,-120").json() == []


def test_in_the_middle_of_the_ocean_is_nothing(app):
    where = {"lat": "-40", "lon": "-120"}
    for kind in ("json", "geojson"):
        found = client.get(app, "/reverse", format=kind, **where)
        assert found.status == 200 and found.json() == {"error": "Unable to geocode"}
    pelias = {"point__lat": "-40", "point__lon": "-120"}
    assert client.get(app, "/v1/reverse", **pelias).json()["features"] == []
    assert client.get(app, "/reverse", format="xml", **where).status == 400
    at = lambda lat: client.get(app, "/v1/reverse", point__lat=lat, point__lon="2.35").json()
    near, far = (at(lat)["features"][0]["properties"]["confidence"] for lat in ("48.85", "49.2"))
    assert near > 0.9 and far < 0.4
    assert "class" in client.get(app, "/reverse", lat="48.8", lon="2.4", format="json").json()


def test_every_result_has_an_outline_of_its_own(app):
    rows = client.get(app, "/search", q="Paris Lyon", polygon_geojson="1", limit="5").json()
    assert len(rows) > 1
    outlines = {json.dumps(row["geojson"]) for row in rows}
    assert len(outlines) == len(rows)
    for row in rows[1:]:  # a place is a point
        at = [pytest.approx(float(row["lon"])), pytest.approx(float(row["lat"]))]
        assert row["geojson"] == {"type": "Point", "coordinates": at}


def test_a_point_beside_a_place_is_not_named_as_it_is(app):
    (one,) = client.get(app, "/api", q="50 km north of Lyon", limit="1").json()["features"]
    properties = one["properties"]
    assert properties["country"] == "France" and properties["countrycode"] == "FR"
    assert properties["name"].startswith("about ") and "city" not in properties
    pelias = client.get(app, "/v1/search", text="50 km north of Lyon", size="1").json()
    properties = pelias["features"][0]["properties"]
    assert properties["country"] == "France" and properties["locality"] is None
    (row,) = client.get(
        app, "/search", q="50 km north of Lyon", addressdetails="1", limit="1"
    ).json()
    assert row["address"] == {"country": "France", "country_code": "fr"}


def test_mentions_have_offsets_and_say_what_they_are(app):
    text = "Lyon, France"
    found = client.get(app, "/mentions", text=text, least="0").json()
    place, country = found
    assert [text[m["start"] : m["end"]] for m in found] == ["Lyon", "France"]
    assert place["type"] == "place" and place["country"] == "FR" and place["geonameid"] > 0
    assert country["type"] == "country" and country["country"] == "FR"
    assert "geonameid" not in country
    assert client.get(app, "/mentions", text=text, least="1").json() == []
    assert (
        asyncio.run(client.ask(app, "GET", "/mentions", {"text": text, "least": "2"})).status == 400
    )


def test_a_geocoder_that_cannot_tell_names_from_words_says_so(geocoder, monkeypatch):
    monkeypatch.setattr(geocoder, "told", None)
    app = application.make(geocoder)
    refused = asyncio.run(client.ask(app, "GET", "/mentions", {"text": "Lyon"}))
    assert refused.status == 501 and "calibrate" in refused.json()["detail"]


def test_batch_is_single_answers(app):
    texts = ["Lyon", "東京", "Toronto, Canada"]
    post = lambda body, kind: asyncio.run(
        client.ask(app, "POST", "/batch", body=body, headers=[("content-type", kind)])
    )
    rows = post(json.dumps(texts).encode(), "application/json").json()
    lines = "\n".join(json.dumps({"text": t, "id": n}) for n, t in enumerate(texts)).encode()
    streamed = post(lines, "application/x-ndjson").body.decode().splitlines()
    for n, (text, row, line) in enumerate(zip(texts, rows, streamed, strict=True)):
        one = client.get(app, "/locate", text=text).json()
        assert row["place"] == one["place"]
        assert json.loads(line)["id"] == n
        assert json.loads(line)["place"] == one["place"]
    for body, status in ((b"[", 400), (b"{}", 422), (b"[1]", 422), (b"\xff", 400)):
        assert post(body, "application/json").status == status
    assert post(b"[]", "application/json").json() == []
    rows = post('["Lyon", "", "東京"]'.encode(), "application/json").json()
    assert [row["found"] for row in rows] == [True, False, True] and "item 1" in rows[1]["error"]
    (line,) = post('"Lyon\u2028"'.encode(), "application/x-ndjson").body.splitlines()
    assert json.loads(line)["found"]
    assert post(b"", "application/x-ndjson").body == b""


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [("/search", {}, 400), ("/search", {"q": " "}, 400), ("/search", {"q": "a" * 10_001}, 400),
     ("/search", {"q": "a\0b"}, 400), ("/search", {"q": "a", "format": "xml"}, 400),
     ("/search", {"q": "a", "viewbox": "1,2,3"}, 400), ("/search", {"q": "a", "limit": "x"}, 400),
     ("/search", {"q": "a", "unknown": "1"}, 200), ("/reverse", {"lat": "91", "lon": "0"}, 400),
     ("/reverse", {"lat": "nan", "lon": "0"}, 400), ("/reverse", {"lat": "0"}, 400),
     ("/search", {"q": "a", "countrycodes": "zz"}, 400),
     ("/v1/search", {"text": "a", "boundary.rect.min_lat": "40"}, 400),
     ("/v1/search", {"text": "a", "boundary.circle.lat": "40"}, 400),
     ("/v1/search", {"text": "a", "focus.point.lat": "40"}, 400),
     ("/reverse", {"lat": "0", "lon": "0", "format": "xml"}, 400),
     ("/search", {"q": "a", "residual": "2"}, 400), ("/nowhere", {}, 404), ("/batch", {}, 405)],
)  # fmt: skip
def test_refusals_are_sentences(app, path, query, status):
    found = asyncio.run(client.ask(app, "GET", path, query))
    assert found.status == status
    if status != 200:
        body = found.json()
        assert body["status"] == status and len(body["detail"]) > 8
        assert found.headers["content-type"].startswith("application/problem+json")


def test_large_and_slow_bodies(geocoder):
    pytest.importorskip("starlette")
    app = application.make(geocoder, body_seconds=0.2)
    post = lambda **more: asyncio.run(client.ask(app, "POST", "/batch", **more))
    assert post(headers=[("content-length", "99999999")]).status == 413
    assert post(parts=[b"x" * 2_500_000, b"x" * 2_500_000]).status == 413
    assert post(parts=[b"[", 1.0, b"]"]).status == 408


def test_rings_of_the_paper_lie_in_their_boxes(geocoder):
    nodes = np.flatnonzero(geocoder.partition.level >= 0)
    answer = geocoder.geocode(["Suva"])[0]._replace(nested=tuple((int(n), 0.5) for n in nodes))
    (body,) = formats.paper(geocoder, answer)
    pairs = list(zip(body["boundingboxes"], body["levels_polygons"], strict=True))
    for (south, north, west, east), ring in pairs:
        lon, lat = np.array(ring[0::2]), np.array(ring[1::2])
        assert (west - 1e-6 <= lon).all() and (lon <= east + 1e-6).all() and east - west <= 180
        assert (south - 1e-6 <= lat).all() and (lat <= north + 1e-6).all()
        assert np.sum(lon[:-1] * lat[1:] - lon[1:] * lat[:-1]) > 0  # counter-clockwise
        assert not (np.signbit(ring) & (np.array(ring) == 0)).any()  # -0.0, as JSON shows it
    ends = np.array([box for box, _ in pairs])
    assert (ends[:, 3] == 180).any() and (ends[:, 2] == -180).any() and (ends[:, 1] == 90).any()


def left(app, messages):
    """The status of a batch whose client has sent these messages, the last one that it leaves."""
    messages = [*messages, {"type": "http.disconnect"}]
    scope = {"type": "http", "http_version": "1.1", "method": "POST", "path": "/batch",
             "raw_path": b"/batch", "root_path": "", "scheme": "http", "query_string": b"",
             "headers": [], "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80)}  # fmt: skip
    sent = []

    async def receive():
        return messages.pop(0) if messages else await asyncio.sleep(3600)

    async def send(message):
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent[0]["status"]


def test_a_batch_that_nobody_waits_for_is_not_computed(geocoder):
    pytest.importorskip("starlette")
    app, counts = application.make(geocoder), []
    app.state.worker.observe = counts.append
    body = json.dumps(["Lyon"] * 640).encode()
    assert left(app, [{"type": "http.request", "body": body}]) == 499
    assert sum(counts) < 640


def test_a_client_that_leaves_in_its_body_is_no_failure_of_the_service(geocoder, caplog):
    pytest.importorskip("starlette")
    app = application.make(geocoder)
    assert left(app, [{"type": "http.request", "body": b'["Ly', "more_body": True}]) == 499
    assert not [r for r in caplog.records if r.levelname == "ERROR"]


def test_requests_beyond_the_most_are_counted(geocoder):
    pytest.importorskip("starlette")
    app = application.make(geocoder, requests=0)
    assert client.get(app, "/search", q="Lyon").status == 503
    text = app.state.measures.render(0)
    assert 'geocoder_requests_total{route="*",status="503"} 1' in text


def test_overload_is_refused_with_a_time_to_come_back(geocoder):
    pytest.importorskip("starlette")
    app = application.make(geocoder, waiting=2)

    async def many():
        asked = [client.ask(app, "GET", "/locate", {"text": f"Lyon {n}"}) for n in range(12)]
        return await asyncio.gather(*asked)

    answers = asyncio.run(many())
    assert {a.status for a in answers} == {200, 503}
    assert all("retry-after" in a.headers for a in answers if a.status == 503)
    assert client.get(app, "/readyz").status == 200


def test_pages_schema_measures_and_a_silent_log(app, caplog):
    with caplog.at_level(logging.INFO):
        client.get(app, "/locate", text="Reykjavík secret")
    assert caplog.records and "secret" not in caplog.text
    html = client.get(app, "/").body.decode()
    assert "://" not in html.replace("http://www.w3.org", "")  # nothing from anybody else
    assert client.get(app, "/openapi.json").json() == openapi.SCHEMA
    assert "/search" in client.get(app, "/docs").body.decode()
    assert client.get(app, "/secret").status == 404
    assert client.get(app, "/batch").status == 405
    text = client.get(app, "/metrics").body.decode()
    assert 'geocoder_requests_total{route="/locate",status="200"}' in text
    for status in (404, 405):
        assert f'geocoder_requests_total{{route="*",status="{status}"}}' in text
    assert "secret" not in text
    assert isinstance(json.loads(page.outlines()), list)
    assert client.get(app, "/healthz").json() == {"status": "ok"}


def test_fuzzing_the_schema_gives_no_500(app):
    draws = random.Random(0)
    pool = ["", "Lyon", "-1", "1e999", "nan", "0", "180", "a" * 300, "\u202e", "\x7f", "🗺", "[1,2]",
            "Fiji", "1,2,3,4", "true", "null", "-17.7", "178", "89.99999", "jsonv2", "geojson"]  # fmt: skip  # noqa: E501
    seen = set()
    for path, methods in openapi.SCHEMA["paths"].items():
        for method, what in methods.items():
            for _ in range(12):
                names = [p["name"] for p in what["parameters"] if draws.random() < 0.8]
                query = {name: draws.choice(pool) for name in names}
                body = draws.choice(
                    [b"", b"[]", b'["a"]', b"{", b'{"texts": [1]}', b"\x00", b"[[]]"]
                )
                found = asyncio.run(client.ask(app, method.upper(), path, query, body))
                assert found.status < 500, (path, query, body, found.body)
                seen.add(found.status)
    assert {200, 400} <= seen


@pytest.mark.parametrize(
    ("path", "query", "name"),
    [("/search", {"q": "Lyon", "layer": "poi"}, "layer"),
     ("/search", {"q": "Lyon", "featureType": "country"}, "featureType"),
     ("/search", {"q": "Lyon", "json_callback": "f"}, "json_callback"),
     ("/search", {"q": "Lyon", "polygon_kml": "1"}, "polygon_kml"),
     ("/search", {"q": "Lyon", "city": "London"}, "city"),
     ("/search", {"q": "Lyon", "addressdetails": "maybe"}, "addressdetails"),
     ("/search", {"q": "Lyon", "exclude_place_ids": "N5"}, "exclude_place_ids"),
     ("/reverse", {"lat": "48.8", "lon": "2.4", "polygon_text": "1"}, "polygon_text"),
     ("/v1/search", {"text": "Lyon", "layers": "country,venue"}, "layers"),
     ("/v1/autocomplete", {"text": "Lyon", "sources": "osm"}, "sources"),
     ("/v1/reverse", {"lat": "48.8", "lon": "2.4", "boundary.circle.radius": "1"}, "radius"),
     ("/api", {"q": "Lyon", "osm_tag": "tourism"}, "osm_tag")],
)  # fmt: skip
def test_what_would_be_answered_wrongly_is_refused(app, path, query, name):
    found = client.get(app, path, **query)
    assert found.status == 400 and name in found.json()["detail"]


def test_a_parameter_that_is_there_twice_is_refused(app):
    words = b"q=Lyon&countrycodes=jp&countrycodes=fr"
    found = asyncio.run(client.ask(app, "GET", "/search", words))
    assert found.status == 400 and "'countrycodes' is there twice" in found.json()["detail"]
    found = asyncio.run(client.ask(app, "POST", "/batch", b"residual=0&residual=1", b'["Lyon"]'))
    assert found.status == 400


def test_what_has_no_effect_is_named_in_a_header(app):
    found = client.get(app, "/search", q="Lyon", countrycode="us", namedetails="1", **{"ä\n": "1"})
    assert found.headers["x-ignored-parameters"] == "countrycode, namedetails, %C3%A4%0A"
    for path, query in (
        ("/search", {"q": "Lyon", "layer": "address", "featureType": "city", "polygon_svg": "0"}),
        ("/reverse", {"point.lat": "48.8", "point.lon": "2.4"}),
        ("/v1/reverse", {"lat": "48.8", "lon": "2.4", "layers": "locality,venue"}),
        ("/locate", {"text": "Lyon", "mass": "0.5", "residual": "0.1"}),
    ):
        found = client.get(app, path, **query)
        assert found.status == 200 and "x-ignored-parameters" not in found.headers
    for kind in ("application/json", "text/plain"):
        own = [("content-type", kind)]
        asked = client.ask(app, "POST", "/batch", {"mass": "1"}, b'["Lyon"]', headers=own)
        assert asyncio.run(asked).headers["x-ignored-parameters"] == "mass"
    lines = client.ask(
        app, "POST", "/batch", {"mass": "1"}, b'"Lyon"', headers=[("content-type", "x/ndjson")]
    )
    assert asyncio.run(lines).headers["x-ignored-parameters"] == "mass"
    assert b"x-ignored-parameters" in client.get(app, "/docs").body


def test_places_may_be_excluded(app):
    first, *others = client.get(app, "/search", q="London").json()
    number = str(first["place_id"])
    found = client.get(app, "/search", q="London", exclude_place_ids=f"7,{number}").json()
    assert [r["place_id"] for r in found] == [r["place_id"] for r in others]


def test_geocodejson_is_what_its_specification_says(app):
    query = {"format": "geocodejson", "addressdetails": "1"}
    found = client.get(app, "/search", q="Lyon", **query).json()
    head = found["geocoding"]
    assert set(found) == {"type", "geocoding", "features"}
    assert head["version"] == "0.1.0" and head["query"] == "Lyon" and "attribution" in head
    (own, *_) = (f["properties"]["geocoding"] for f in found["features"])
    assert own["type"] == own["osm_value"] == "city" and own["label"].startswith("Lyon")
    assert own["country"] == "France" and own["city"] == "Lyon" and "address" not in own
    found = client.get(app, "/reverse", lat="48.8", lon="2.4", **query).json()
    assert found["geocoding"]["query"] == "48.8,2.4"


def test_reverse_has_what_is_asked_for(app):
    at = {"lat": "48.8", "lon": "2.4"}
    assert "address" in client.get(app, "/reverse", **at).json()
    assert "address" not in client.get(app, "/reverse", addressdetails="0", **at).json()
    found = client.get(app, "/reverse", polygon_geojson="1", **at).json()
    assert found["geojson"] == {"type": "Point", "coordinates": [2.35, 48.85]}


def test_reverse_is_photons_where_photons_parameters_are(app):
    at = {"lat": "48.8", "lon": "2.4"}
    for own in ({"limit": "1"}, {"radius": "10"}, {"lang": "en", "limit": "3"}):
        (feature,) = client.get(app, "/reverse", **at, **own).json()["features"]
        assert (
            feature["properties"]["name"] == "Paris" and len(feature["properties"]["extent"]) == 4
        )
    assert client.get(app, "/reverse", radius="1", **at).json()["features"] == []
    assert client.get(app, "/reverse", lat="0", lon="-140", limit="1").json()["features"] == []
    assert client.get(app, "/reverse", radius="-1", **at).status == 400
    row = client.get(app, "/reverse", format="jsonv2", limit="1", **at).json()
    assert row["display_name"] == "Paris, France"


def test_the_box_of_a_place_is_around_it_and_as_large_as_it_is(geocoder):
    """It was the cell that holds the place, which may lie on the cell's edge."""
    places = geocoder.gazetteer
    many = places.population.copy()
    rows = [places.names.index(name) for name in ("Paris", "Suva", "Tromsø", "Reykjavík", "Rome")]
    many[rows] = 0, 9_999, 10_000, 99_999, 100_000
    own = copy.copy(geocoder)
    own.known = geocoder.known._replace(gazetteer=places._replace(population=many))
    for row, half in zip(rows, (2.2, 2.2, 4.5, 4.5, 18.0), strict=True):
        hit = formats.place_hit(own, row, 0.5)
        west, south, east, north = formats.bounds(own, hit)
        edges = sphere.distance(hit.lat, hit.lon, [hit.lat, hit.lat, south, north],
                                [west, east, hit.lon, hit.lon])  # fmt: skip
        np.testing.assert_allclose(edges, half, rtol=1e-3)


def test_pelias_tells_the_box_of_all_results(app):
    body = client.get(app, "/v1/search", text="Paris Lyon", size="5").json()
    boxes = [f["bbox"] for f in body["features"]]
    assert len(boxes) > 1 and body["bbox"] == list(geojson.union(boxes))
    assert "bbox" not in client.get(app, "/v1/search", text="zzz qqq").json()


def test_a_features_box_is_that_of_its_geometry(app):
    asked = {"q": "Lyon", "format": "geojson", "polygon_geojson": "1"}
    first, *others = client.get(app, "/search", **asked).json()["features"]
    assert all(f["geometry"]["type"] == "Point" and "point" not in f["properties"] for f in others)
    for feature in [first]:
        rings = [ring for polygon in feature["geometry"]["coordinates"] for ring in polygon]
        lon, lat = np.concatenate([np.array(ring) for ring in rings]).T
        west, south, east, north = feature["bbox"]
        inside = (lon >= west) & (lon <= east) if west <= east else (lon >= west) | (lon <= east)
        assert inside.all() and (south, north) == (lat.min(), lat.max())
