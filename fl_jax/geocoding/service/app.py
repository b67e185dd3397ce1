"""The application: routes, answers, errors. Starlette is imported when one is made."""

import json

from fl_jax.core import errors
from fl_jax.geocoding.geocoder import Geocoder
from fl_jax.geocoding.service import limits, measure, openapi, page, parameters, unserved
from fl_jax.geocoding.service.handlers import Handlers
from fl_jax.geocoding.service.parameters import Refused
from fl_jax.geocoding.service.worker import RETRY_SECONDS, Worker

# The page needs nothing from anybody else, and the browser holds it to that.
POLICY = "default-src 'none'; connect-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"  # noqa: E501
TITLES = {400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed",
          408: "Request Timeout", 413: "Content Too Large", 422: "Unprocessable Content",
          499: "Client Closed Request", 500: "Internal Server Error",
          503: "Service Unavailable"}  # fmt: skip


def make(
    geocoder: Geocoder,
    *,
    waiting: int | None = None,
    body_seconds: float = limits.BODY_SECONDS,
    requests: int = limits.REQUESTS,
):
    """The ASGI application of a geocoder.

    Args:
        geocoder: answers.
        waiting: texts that may wait; the default of `worker` unless given.
        body_seconds: in which the body of a request must have come.
        requests: that may be answered at once; further ones are told to come back.
    """
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
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
    answers = Handlers(geocoder, worker)
    outlines = page.outlines()

    class JSON(JSONResponse):
        def render(self, content) -> bytes:
            return _dump(content).encode("utf-8")

    def problem(status: int, detail: str, headers=None) -> Response:
        body = {"type": "about:blank", "title": TITLES.get(status, "Error"), "status": status,
                "detail": detail}  # fmt: skip
        return JSON(body, status, headers, "application/problem+json")

    def full() -> Response:
        counted.request("*", 503, 0.0)
        text = f"{requests} requests are being answered; try again in {RETRY_SECONDS} seconds."
        return problem(503, text, {"retry-after": str(RETRY_SECONDS)})

    def content(handler, path):
        """What a handler makes of the parameters, as JSON."""

        async def call(request: Request) -> Response:
            unserved.check(path, request.query_params.multi_items())
            found = await handler(request.query_params)
            return JSON(found, headers=unserved.headers(path, request.query_params))

        return call

    def fixed(write):
        """What does not depend on the request."""

        async def call(request: Request) -> Response:
            return write()

        return call

    def usage() -> Response:
        own = {"content-security-policy": POLICY, "referrer-policy": "no-referrer"}
        return HTMLResponse(page.html(geocoder.gazetteer.notices), headers=own)

    def ready() -> Response:
        return JSON({"status": "busy" if worker.full else "ready"}, 503 if worker.full else 200)

    async def batch(request: Request) -> Response:
        unserved.check("/batch", request.query_params.multi_items())
        body = await limits.body(request, body_seconds)
        items, lines = parameters.batch(body, request.headers.get("content-type", ""))
        rows = answers.batch(request.query_params, items)
        said = unserved.headers("/batch", request.query_params)
        if not lines:
            found = []
            async for row in rows:
                if await request.is_disconnected():  # nobody waits for the rest
                    raise Refused(499, "the client has gone.")
                found.append(row)
            return JSON(found, headers=said)
        try:  # the first batch before the status is sent, so that it can still be refused
            head = [await anext(rows)]
        except StopAsyncIteration:
            head = []

        async def stream():
            for row in head:
                yield _dump(row) + "\n"
            async for row in rows:
                yield _dump(row) + "\n"

        return StreamingResponse(stream(), headers=said, media_type="application/x-ndjson")

    asked = {
        "/search": answers.search,
        "/v1/search": answers.pelias,
        "/v1/autocomplete": answers.pelias,
        "/api": answers.photon,
        "/geocoding": answers.paper,
        "/locate": answers.locate,
        "/mentions": answers.mentions,
        "/reverse": answers.reverse,
        "/v1/reverse": answers.pelias_reverse,
    }
    gets = {path: content(handler, path) for path, handler in asked.items()} | {
        "/": fixed(usage),
        "/outlines": fixed(lambda: Response(outlines, media_type="application/json")),
        "/healthz": fixed(lambda: JSON({"status": "ok"})),
        "/readyz": fixed(ready),
        "/status": fixed(lambda: JSON({"status": 0, "message": "OK", "software_version": "1.0"})),
        "/metrics": fixed(lambda: PlainTextResponse(counted.render(worker.queued))),
        "/openapi.json": fixed(lambda: JSON(openapi.SCHEMA)),
        "/docs": fixed(lambda: HTMLResponse(page.documentation())),
    }
    broken = lambda: problem(500, "the service failed; its log says where.")
    timed = lambda path, handler: limits.timed(counted, path, handler, broken)
    routes = [Route(path, timed(path, handler)) for path, handler in gets.items()]
    routes.append(Route("/batch", timed("/batch", batch), methods=["POST"]))

    async def refused(request: Request, error: Refused) -> Response:
        return problem(error.status, error.detail, error.headers)

    async def wrong(request: Request, error: Exception) -> Response:
        return problem(400, str(error))

    async def not_there(request: Request, error: HTTPException) -> Response:
        if error.status_code in (404, 405):  # the router's own, which no handler has seen
            counted.request("*", error.status_code, 0.0)
        return problem(error.status_code, error.detail, error.headers)

    application = Starlette(
        routes=routes,
        middleware=[
            Middleware(
                CORSMiddleware,
                allow_origins=["*"],
                allow_methods=["GET", "POST"],
                expose_headers=[unserved.HEADER],
            ),
            Middleware(limits.Room, most=requests, refuse=full),
        ],
        exception_handlers={
            Refused: refused,
            errors.DataError: wrong,
            errors.ConfigError: wrong,
            HTTPException: not_there,
        },
    )
    application.state.worker, application.state.measures = worker, counted
    return application


def _dump(content) -> str:
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
