"""What one request, and all of them together, may take; and that none goes uncounted."""

import asyncio
import logging
import pathlib
import time
import traceback

from fl_jax.core import errors
from fl_jax.geocoding.service import measure
from fl_jax.geocoding.service.parameters import Refused

log = logging.getLogger(__name__)

BODY_LIMIT = 4_000_000  # bytes
BODY_SECONDS = 15.0  # in which a body must have come
REQUESTS = 256  # answered at once


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


async def body(request, seconds: float) -> bytes:
    """The body, if it is not too large and comes in time, and its sender stays that long."""
    from starlette.requests import ClientDisconnect

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
    except ClientDisconnect:
        raise Refused(499, "the client has gone.") from None
    return b"".join(parts)
