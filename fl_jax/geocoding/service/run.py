"""Running the service: uvicorn, on the loopback interface unless told otherwise."""

import contextlib
import logging
import socket

from fl_jax.core import errors
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

    Raises:
        ConfigError: the address cannot be had; said before anything is compiled.
    """
    import uvicorn

    with bound(host, port) as taken:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
        logging.info("compiling; a minute at the first start")
        geocoder.warm()
        server = uvicorn.Server(uvicorn.Config(app.make(geocoder), **SETTINGS))
        logging.info("ready on http://%s:%d/", host, taken.getsockname()[1])
        with contextlib.suppress(KeyboardInterrupt):  # which uvicorn raises again at its end
            server.run([taken])


def bound(host: str, port: int) -> socket.socket:
    """A socket at an address, which accepts nobody yet.

    Raises:
        ConfigError: a port that is none, or an address that is taken or not of this machine.
    """
    if not 0 <= port <= 65_535:  # the system would take it modulo 65,536
        raise errors.ConfigError(f"a port is from 0 to 65535, got {port}.")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        made = socket.socket(family, kind, protocol)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(address)
        except BaseException:
            made.close()
            raise
    except (OSError, UnicodeError) as error:
        raise errors.ConfigError(
            f"{host}:{port} cannot be listened on ({error}); give another --port or --host."
        ) from None
    return made
