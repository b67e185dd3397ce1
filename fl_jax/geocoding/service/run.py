"""Running the service: uvicorn, on the loopback interface unless told otherwise."""

import logging

from fl_jax.geocoding.geocoder import Geocoder
from fl_jax.geocoding.service import app, limits

CONNECTIONS = 2 * limits.REQUESTS  # open at once; more are turned away by the server itself
SETTINGS = {  # of uvicorn
    "access_log": False,  # it would hold the texts of queries
    "log_level": "warning",
    "limit_concurrency": CONNECTIONS,
    "timeout_keep_alive": 15,
    "timeout_graceful_shutdown": 10,  # seconds in which answers that are begun must end
    "h11_max_incomplete_event_size": 65_536,
}


def serve(geocoder: Geocoder, *, host: str = "127.0.0.1", port: int = 8080) -> None:
    """Compiles what queries need, then answers until it is interrupted.

    The server's own access log is off: it would hold the texts of queries.
    """
    import uvicorn

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.info("compiling; a minute at the first start")
    geocoder.warm()
    logging.info("ready on http://%s:%d/", host, port)
    uvicorn.run(app.make(geocoder), host=host, port=port, **SETTINGS)
