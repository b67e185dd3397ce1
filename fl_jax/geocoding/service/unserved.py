"""Parameters of the emulated services that this one has not.

Those that would change which results come, or their shape, are refused: an answer without them
would be another one than was asked for. All others are left aside, and a header names them.
"""

import collections
import urllib.parse
from collections.abc import Iterable, Sequence

from fl_jax.geocoding.service import openapi
from fl_jax.geocoding.service.parameters import Refused

HEADER = "x-ignored-parameters"
MOST = 20  # names in it

_OFF = ("", "0")
_KINDS = ("city", "settlement")
_OUTLINES = dict.fromkeys(("polygon_kml", "polygon_svg", "polygon_text", "json_callback"), _OFF)
_PELIAS = {
    "layers": ("", "coarse", "locality"),
    "sources": ("", "geonames", "gn"),
    "boundary.gid": _OFF,
    "boundary.circle.lat": _OFF,
    "boundary.circle.lon": _OFF,
    "boundary.circle.radius": _OFF,
}
# by address: what a parameter may be all the same, since every result is so
REFUSED: dict[str, dict[str, tuple[str, ...]]] = {
    "/search": {
        **_OUTLINES, "layer": ("", "address"), "featureType": ("", *_KINDS),
        "featuretype": ("", *_KINDS),
    },
    "/reverse": {**_OUTLINES, "layer": ("", "address")},
    "/v1/search": _PELIAS,
    "/v1/autocomplete": _PELIAS,
    "/v1/reverse": {**_PELIAS, "boundary.country": _OFF},
    "/api": {"osm_tag": _OFF, "layer": ("", "city")},
}  # fmt: skip
# both ways to reverse take the names of either
_MORE = {"/reverse": ("point.lat", "point.lon"), "/v1/reverse": ("lat", "lon")}


def check(path: str, pairs: Sequence[tuple[str, str]]) -> None:
    """Refuses what would be answered wrongly.

    Args:
        path: of the request.
        pairs: names and values of its parameters.

    Raises:
        Refused: 400, a parameter that is not served, unless it asks for what every result is, or
            that is there twice, of which one would count.
    """
    query = dict(pairs)
    counts = collections.Counter(name for name, _ in pairs)
    twice = next((name for name, count in counts.items() if count > 1), None)
    if twice is not None:
        raise Refused(400, f"{twice[:60]!r} is there twice; give it once, lists with commas.")
    for name, allowed in REFUSED.get(path, {}).items():
        asked = [v.strip() for v in query.get(name, "").split(",")]
        if not any(v in allowed for v in asked):
            only = " or ".join(v for v in allowed if v not in _OFF)
            raise Refused(
                400,
                f"{name!r} is not served here{f' but for {only}' if only else ''}; leave it out.",
            )


def headers(path: str, names: Iterable[str]) -> dict[str, str]:
    """The header that names the parameters which had no effect; empty without any."""
    (what,) = openapi.SCHEMA["paths"][path].values()
    known = {p["name"] for p in what["parameters"]} | {*_MORE.get(path, ()), *REFUSED.get(path, ())}
    strange = sorted({n for n in names if n not in known})[:MOST]
    return {HEADER: ", ".join(urllib.parse.quote(n[:60]) for n in strange)} if strange else {}
