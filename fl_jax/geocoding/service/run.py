"""Running the service: uvicorn, on the loopback interface unless told otherwise."""

import logging

from fl_jax.geocoding.geocoder import Geocoder
from fl_jax.geocoding.service import app

CONCURRENT = 256  # connections; more are answered 503 by the server itself


def serve(geocoder: Geocoder, *, host: str = "127.0.0.1", port: int = 8080) -> None:
    """Compiles what queries need, then answers until it is interrupted.

    The server's own access log is off: it would hold the texts of queries.
    """
    import uvicorn

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.info("compiling; a minute at the first start")
    geocoder.warm()
    logging.info("ready on http://%s:%d/", host, port)
    uvicorn.run(
        app.make(geocoder),
        host=host,
        port=port,
        access_log=False,
        log_level="warning",
        limit_concurrency=CONCURRENT,
        timeout_keep_alive=15,
        h11_max_incomplete_event_size=65_536,
    )
