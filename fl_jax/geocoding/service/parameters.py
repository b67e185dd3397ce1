"""Reading requests: every value checked, every refusal a sentence."""

import json
import math
import unicodedata
from collections.abc import Mapping
from typing import NamedTuple

from fl_jax.geocoding import geocoder

BATCH_LIMIT = 5000  # texts of one request
RESIDUAL = 0.05


class Refused(Exception):
    """A request that is answered with a status and a sentence."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None):
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, dict(headers or {})


class Box(NamedTuple):
    """A rectangle of longitudes and latitudes; west > east where it crosses longitude 180."""

    west: float
    south: float
    east: float
    north: float

    def holds(self, lat: float, lon: float) -> bool:
        """Whether a point lies in it."""
        wide = self.west <= lon <= self.east
        if self.west > self.east:
            wide = lon >= self.west or lon <= self.east
        return wide and self.south <= lat <= self.north


def text(value, name: str) -> str:
    """A text that can be geocoded.

    Raises:
        Refused: it is missing, empty, too long, or holds control characters.
    """
    if value is None:
        raise Refused(400, f"the parameter {name!r} is missing; give the text to geocode.")
    if not isinstance(value, str):
        raise Refused(422, f"{name!r} should be a string, got {type(value).__name__}.")
    if not value.strip():
        raise Refused(400, f"{name!r} is empty; give the text to geocode.")
    if len(value) > geocoder.LIMIT:
        raise Refused(
            400, f"{name!r} has {len(value)} characters and the limit is {geocoder.LIMIT}."
        )
    if any(unicodedata.category(c) in ("Cc", "Cs") and c not in "\t\n\r" for c in value):
        raise Refused(400, f"{name!r} holds control characters or halves of characters.")
    return value


def number(query: Mapping, name: str, low: float, high: float, default=None) -> float:
    """A finite number in a range.

    Raises:
        Refused: it is missing without a default, no number, or out of range.
    """
    value = query.get(name)
    if value is None or value == "":
        if default is None:
            raise Refused(400, f"the parameter {name!r} is missing; give a number.")
        return default
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        raise Refused(400, f"{name!r} should be a number, got {str(value)[:40]!r}.") from None
    if not math.isfinite(found) or not low <= found <= high:
        raise Refused(400, f"{name!r} should be from {low:g} to {high:g}, got {str(value)[:40]!r}.")
    return found


def limit(query: Mapping, name: str, default: int, most: int = 40) -> int:
    """How many results: as the emulated services do, a number beyond the most becomes it."""
    return int(min(max(number(query, name, -1e9, 1e9, default), 1), most))


def box(query: Mapping, name: str) -> Box | None:
    """x1,y1,x2,y2: two opposite corners in any order of latitudes; None if not given."""
    value = query.get(name)
    if not value:
        return None
    parts = value.split(",")
    if len(parts) != 4:
        raise Refused(400, f"{name!r} should be four numbers lon,lat,lon,lat, got {value[:60]!r}.")
    names = (f"{name}[{n}]" for n in range(4))
    x1, y1, x2, y2 = (
        number({n: p}, n, -180 if k % 2 == 0 else -90, 180 if k % 2 == 0 else 90)
        for k, (n, p) in enumerate(zip(names, parts, strict=True))
    )
    return Box(x1, min(y1, y2), x2, max(y1, y2))


def countries(query: Mapping, name: str) -> set[str]:
    """Upper-case country codes, separated by commas."""
    return {c.strip().upper() for c in query.get(name, "").split(",") if c.strip()}


def truth(query: Mapping, name: str) -> bool:
    """Whether a flag is set, in any of the usual ways."""
    return query.get(name, "").lower() in ("1", "true", "yes", "on")


def batch(body: bytes, content_type: str) -> tuple[list[dict], bool]:
    """(items with a `text` each, whether they came as NDJSON) of the body of `POST /batch`.

    A JSON list of strings or of objects with `text`, or one of these on each line.

    Raises:
        Refused: anything else.
    """
    try:
        content = body.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused(400, "the body should be UTF-8.") from None
    lines = "ndjson" in content_type or "jsonl" in content_type or "json-lines" in content_type
    try:
        if lines:
            items = [json.loads(line) for line in content.splitlines() if line.strip()]
        else:
            items = json.loads(content)
    except (ValueError, RecursionError):
        kind = "a JSON value on each line" if lines else "a JSON list"
        raise Refused(400, f"the body should be {kind}, and it is not valid JSON.") from None
    if isinstance(items, dict) and isinstance(items.get("texts"), list):
        items = items["texts"]
    if not isinstance(items, list):
        raise Refused(422, 'the body should be a list of texts, or {"texts": [...]}.')
    if len(items) > BATCH_LIMIT:
        raise Refused(413, f"{len(items)} texts came and the limit is {BATCH_LIMIT}; send parts.")
    found = []
    for n, item in enumerate(items):
        item = {"text": item} if isinstance(item, str) else item
        if not isinstance(item, dict):
            raise Refused(422, f"item {n} should be a string or an object with 'text'.")
        own = {"text": text(item.get("text"), f"text of item {n}")}
        if "id" in item:
            own["id"] = _echoed(item["id"], n)
        found.append(own)
    return found, lines


def _echoed(value, n: int):
    """A value that can be sent back: JSON reads numbers and characters that it cannot write.

    Raises:
        Refused: NaN, an infinity, half of a character, or too deep a nesting.
    """
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except (ValueError, RecursionError):
        raise Refused(
            400, f"the id of item {n} cannot be sent back; give a string or a finite number."
        ) from None
    return value
