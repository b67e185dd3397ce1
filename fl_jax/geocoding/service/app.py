"""The application: routes, limits, errors. Starlette is imported when one is made."""

import asyncio
import json
import logging
import pathlib
import time
import traceback
from collections.abc import AsyncIterator

from fl_jax.core import errors
from fl_jax.geocoding.area import Area
from fl_jax.geocoding.geocoder import Geocoder
from fl_jax.geocoding.service import formats, measure, openapi, page, parameters
from fl_jax.geocoding.service.parameters import Refused
from fl_jax.geocoding.service.worker import RETRY_SECONDS, Worker, steps

log = logging.getLogger(__name__)

BODY_LIMIT = 4_000_000  # bytes
BODY_SECONDS = 15.0  # in which a body must have come
REQUESTS = 256  # answered at once
# The page needs nothing from anybody else, and the browser holds it to that.
POLICY = "default-src 'none'; connect-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"  # noqa: E501


def make(
    geocoder: Geocoder,
    *,
    waiting: int | None = None,
    body_seconds: float = BODY_SECONDS,
    requests: int = REQUESTS,
):
    """The ASGI application of a geocoder.

    Args:
        geocoder: answers.
        waiting: texts that may wait; the default of `worker` unless given.
        body_seconds: in which the body of a request must have come.
        requests: that may be answered at once; further ones are told to come back.
    """
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.cors import CORSMiddleware
    from starlette.requests import Request
    from starlette.responses import (
        HTMLResponse,
        JSONResponse,
        PlainTextResponse,
        Response,
        StreamingResponse,
    )
    from starlette.routing import Route

    counted = measure.Measures()
    settings = {} if waiting is None else {"waiting": waiting}
    worker = Worker(geocoder, observe=counted.batch, **settings)
    outlines = page.outlines()
    alpha2 = {r.code: r.code for r in geocoder.gazetteer.regions[: geocoder.gazetteer.countries]}
    alpha3 = geocoder.gazetteer.alpha3

    class JSON(JSONResponse):
        def render(self, content) -> bytes:
            return _dump(content).encode("utf-8")

    def residual(query) -> float:
        return parameters.number(query, "residual", 0.0, 0.999, parameters.RESIDUAL)

    async def one(query, name, within=Area()):
        text = parameters.text(query.get(name), name)
        return (await worker.geocode([text], residual(query), within))[0]

    async def hits(query, name, within: Area):
        """The results of a query; one that is a point has what is found there."""
        point = parameters.coordinates(query.get(name))
        if point is None:
            answer = await one(query, name, within)
            return await worker.call(formats.hits, geocoder, answer, within)
        return await worker.call(formats.at, geocoder, *point, within)

    async def usage(request: Request) -> Response:
        own = {"content-security-policy": POLICY, "referrer-policy": "no-referrer"}
        return HTMLResponse(page.html(geocoder.gazetteer.notices), headers=own)

    async def drawn(request: Request) -> Response:
        return Response(outlines, media_type="application/json")

    def shape(query) -> str:
        kind = query.get("format", "jsonv2")
        if kind not in ("json", "jsonv2", "geojson", "geocodejson"):
            raise Refused(400, "format should be json, jsonv2, geojson or geocodejson.")
        return kind

    async def search(request: Request) -> Response:
        query = request.query_params
        kind = shape(query)
        q = query.get("q")
        if q is None:  # the structured form
            order = ("amenity", "street", "city", "county", "state", "country", "postalcode")
            q = ", ".join(query[n] for n in order if query.get(n)) or None
        count = parameters.limit(query, "limit", 10)
        box = parameters.corners(query, "viewbox")
        where = {"box" if parameters.truth(query, "bounded") else "preferred": box}
        within = Area(parameters.countries(query, "countrycodes", alpha2), **where)
        found = (await hits({**query, "q": q}, "q", within))[:count]
        polygon = parameters.truth(query, "polygon_geojson")
        details = parameters.truth(query, "addressdetails")
        written = lambda: formats.nominatim(geocoder, found, kind, details=details, polygon=polygon)
        return JSON(await worker.call(written))

    async def pelias(request: Request) -> Response:
        query = request.query_params
        size = parameters.limit(query, "size", 10)
        if any(name.startswith("boundary.circle.") for name in query):
            raise Refused(400, "boundary.circle is not known here; give boundary.rect.")
        within = Area(
            parameters.countries(query, "boundary.country", {**alpha2, **alpha3}),
            parameters.rectangle(query, "boundary.rect"),
            parameters.point(query, "focus.point.lat", "focus.point.lon"),
        )
        found = (await hits(query, "text", within))[:size]
        asked = {"text": query.get("text"), "size": size}
        return JSON(await worker.call(formats.pelias, geocoder, found, asked))

    async def photon(request: Request) -> Response:
        query = request.query_params
        count = parameters.limit(query, "limit", 10)
        near = parameters.point(query, "lat", "lon")
        within = Area(box=parameters.box(query, "bbox"), near=near)
        found = (await hits(query, "q", within))[:count]
        return JSON(await worker.call(formats.photon, geocoder, found))

    async def paper(request: Request) -> Response:
        answer = await one(request.query_params, "text")
        if not answer.found:
            raise Refused(404, "no cell is likely enough for this text.")
        return JSON(await worker.call(formats.paper, geocoder, answer))

    async def locate(request: Request) -> Response:
        query = request.query_params
        mass = parameters.number(query, "mass", 0.01, 0.99, formats.REGION)
        answer = await one(query, "text")
        return JSON(await worker.call(lambda: formats.ours(geocoder, answer, polygon=mass)))

    async def mentions(request: Request) -> Response:
        text = parameters.text(request.query_params.get("text"), "text")
        places = geocoder.gazetteer
        found = await worker.read(geocoder.mentions, text)
        rows = [
            {
                "start": m.start,
                "end": m.end,
                "name": text[m.start : m.end],
                "geonameid": int(places.ids[m.row]),
                "display_name": places.display(m.row),
                "lat": float(places.lat[m.row]),
                "lon": float(places.lon[m.row]),
                "probability": round(m.probability, 6),
            }
            for m in found
        ]
        return JSON(rows)

    async def reverse(request: Request) -> Response:
        query = request.query_params
        pelias_names = "point.lat" in query or "point.lon" in query
        names = ("point.lat", "point.lon") if pelias_names else ("lat", "lon")
        lat = parameters.number(query, names[0], -90, 90)
        lon = parameters.number(query, names[1], -180, 180)
        found = await worker.call(formats.reverse, geocoder, lat, lon)
        if request.url.path.startswith("/v1/"):
            asked = {names[0]: lat, names[1]: lon}
            body = formats.pelias(geocoder, [found.hit] if found else [], asked)
            for feature in body["features"]:
                feature["properties"] |= {"distance": round(found.km, 3), "cell": found.cell}
            return JSON(body)
        kind = shape(query)
        if found is None:
            return JSON({"error": "Unable to geocode"})
        if kind in ("geojson", "geocodejson"):
            return JSON(formats.nominatim(geocoder, [found.hit], kind, details=True))
        row = formats.nominatim(geocoder, [found.hit], kind, details=True)[0]
        return JSON({**row, "distance_km": round(found.km, 3), "cell": found.cell})

    async def batch(request: Request) -> Response:
        mass = residual(request.query_params)
        body = await _body(request, body_seconds)
        items, lines = parameters.batch(body, request.headers.get("content-type", ""))

        async def rows() -> AsyncIterator[dict]:
            for start, after in steps([i.get("text", "") for i in items]):
                some = items[start:after]
                texts = [i["text"] for i in some if "text" in i]
                answers = iter(await worker.geocode(texts, mass, wait=start > 0))
                for item in some:
                    name = {"id": item["id"]} if "id" in item else {}
                    if "text" in item:
                        yield {**name, **formats.ours(geocoder, next(answers))}
                    else:
                        yield {**name, "found": False, "error": item["error"]}

        if not lines:
            return JSON([row async for row in rows()])
        first = rows()
        try:  # the first batch before the status is sent, so that it can still be refused
            head = [await anext(first)]
        except StopAsyncIteration:
            head = []

        async def stream():
            for row in head:
                yield _dump(row) + "\n"
            async for row in first:
                yield _dump(row) + "\n"

        return StreamingResponse(stream(), media_type="application/x-ndjson")

    async def health(request: Request) -> Response:
        return JSON({"status": "ok"})

    async def ready(request: Request) -> Response:
        return JSON({"status": "busy" if worker.full else "ready"}, 503 if worker.full else 200)

    async def status(request: Request) -> Response:
        return JSON({"status": 0, "message": "OK", "software_version": "1.0"})

    async def measures(request: Request) -> Response:
        return PlainTextResponse(counted.render(worker.queued))

    async def schema(request: Request) -> Response:
        return JSON(openapi.SCHEMA)

    async def docs(request: Request) -> Response:
        return HTMLResponse(page.documentation())

    def problem(status: int, detail: str, headers=None) -> Response:
        body = {"type": "about:blank", "title": _TITLES.get(status, "Error"), "status": status,
                "detail": detail}  # fmt: skip
        return JSON(body, status, headers, "application/problem+json")

    def full() -> Response:
        text = f"{requests} requests are being answered; try again in {RETRY_SECONDS} seconds."
        return problem(503, text, {"retry-after": str(RETRY_SECONDS)})

    async def refused(request: Request, error: Refused) -> Response:
        return problem(error.status, error.detail, error.headers)

    async def wrong(request: Request, error: Exception) -> Response:
        return problem(400, str(error))

    async def not_there(request: Request, error) -> Response:
        return problem(error.status_code, error.detail, error.headers)

    handlers = {
        "/": usage, "/outlines": drawn, "/search": search, "/v1/search": pelias,
        "/v1/autocomplete": pelias, "/api": photon, "/geocoding": paper, "/locate": locate,
        "/mentions": mentions, "/reverse": reverse, "/v1/reverse": reverse, "/healthz": health,
        "/readyz": ready, "/status": status, "/metrics": measures, "/openapi.json": schema,
        "/docs": docs,
    }  # fmt: skip
    broken = lambda: problem(500, "the service failed; its log says where.")
    routes = [Route(path, timed(counted, path, h, broken)) for path, h in handlers.items()]
    routes.append(Route("/batch", timed(counted, "/batch", batch, broken), methods=["POST"]))
    from starlette.exceptions import HTTPException

    application = Starlette(
        routes=routes,
        middleware=[
            Middleware(CORSMiddleware, allow_origins=["*"], allow_methods=["GET", "POST"]),
            Middleware(Room, most=requests, refuse=full),
        ],
        exception_handlers={
            Refused: refused,
            errors.DataError: wrong,
            errors.ConfigError: wrong,
            HTTPException: not_there,
        },
    )
    application.state.worker = worker
    return application


_TITLES = {400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed",
           408: "Request Timeout", 413: "Content Too Large", 422: "Unprocessable Content",
           500: "Internal Server Error", 503: "Service Unavailable"}  # fmt: skip


def timed(counted: measure.Measures, route: str, handler, broken):
    """The handler, its status and time counted and logged without what was asked.

    Args:
        counted: where.
        route: its path.
        handler: of requests.
        broken: makes the answer to a request that a mistake in the program has ended.
    """
    from starlette.exceptions import HTTPException

    async def call(request):
        start, status = time.perf_counter(), 500
        try:
            response = await handler(request)
            status = response.status_code
            return response
        except Refused as error:
            status = error.status
            raise
        except (errors.DataError, errors.ConfigError):
            status = 400
            raise
        except HTTPException as error:
            status = error.status_code
            raise
        except Exception as error:
            # Told without its message, which may hold what was asked, and not raised again, for
            # the server's own log would print it.
            frames = traceback.extract_tb(error.__traceback__)
            where = " < ".join(f"{pathlib.Path(f.filename).name}:{f.lineno}" for f in frames[::-1])
            log.error("%s %s failed: %s at %s", request.method, route, type(error).__name__, where)
            return broken()
        finally:
            seconds = time.perf_counter() - start
            counted.request(route, status, seconds)
            log.info("%s %s %d %.1f ms", request.method, route, status, 1000 * seconds)

    return call


class Room:
    """ASGI middleware: so many requests at once; the others are refused before they are read.

    Args:
        application: that answers.
        most: requests at once.
        refuse: makes the answer to those beyond.
    """

    def __init__(self, application, most: int, refuse):
        self.application, self.most, self.refuse, self.inside = application, most, refuse, 0

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":  # the server's own start and end
            await self.application(scope, receive, send)
        elif self.inside < self.most:
            self.inside += 1
            try:
                await self.application(scope, receive, send)
            finally:
                self.inside -= 1
        else:
            await self.refuse()(scope, receive, send)


async def _body(request, seconds: float) -> bytes:
    """The body, if it is not too large and comes in time."""
    announced = request.headers.get("content-length", "0")
    if announced.isascii() and announced.isdigit() and float(announced) > BODY_LIMIT:
        raise Refused(413, f"the body has {announced} bytes and the limit is {BODY_LIMIT}.")
    parts, size = [], 0
    try:
        async with asyncio.timeout(seconds):
            async for part in request.stream():
                size += len(part)
                if size > BODY_LIMIT:
                    raise Refused(413, f"the body is larger than {BODY_LIMIT} bytes.")
                parts.append(part)
    except TimeoutError:
        raise Refused(408, f"the body did not come within {seconds:g} seconds.") from None
    return b"".join(parts)


def _dump(content) -> str:
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
