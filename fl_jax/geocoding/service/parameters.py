"""Reading requests: every value checked, every refusal a sentence."""

import json
import math
import re
from collections.abc import Mapping

from fl_jax.geocoding import geocoder
from fl_jax.geocoding.area import Box

BATCH_LIMIT = 5000  # texts of one request
RESIDUAL = 0.05
# control characters but tabs and ends of lines, and halves of characters
_UNFIT = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
# The space between two numbers is read in one way only, or a long one would take its square.
_POINT = re.compile(r"\s*([+-]?\d{1,3}(?:\.\d*)?)(?:\s*[,;]\s*|\s+)([+-]?\d{1,3}(?:\.\d*)?)\s*")
_FLAGS = {**dict.fromkeys(("1", "true", "yes", "on"), True),
          **dict.fromkeys(("0", "false", "no", "off"), False)}  # fmt: skip


class Refused(Exception):
    """A request that is answered with a status and a sentence."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None):
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, dict(headers or {})


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
    if _UNFIT.search(value):
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
    """west,south,east,north, the latitudes in any order; west > east crosses longitude 180.

    Returns:
        None if it is not given.
    """
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


def corners(query: Mapping, name: str) -> Box | None:
    """x1,y1,x2,y2: any two opposite corners; None if not given.

    They cross longitude 180 if the first is the eastern one and more than 180 degrees lie
    between them: 170,-20,-170,-10 has Fiji in it, and 10,50,0,40 has Paris.
    """
    found = box(query, name)
    if found is not None and 0 < found.west - found.east <= 180:
        return found._replace(west=found.east, east=found.west)
    return found


def rectangle(query: Mapping, name: str) -> Box | None:
    """The box of name.min_lon, name.min_lat, name.max_lon and name.max_lat; None without any."""
    names = [f"{name}.{n}" for n in ("min_lon", "min_lat", "max_lon", "max_lat")]
    missing = [n for n in names if not query.get(n)]
    if len(missing) == len(names):
        return None
    if missing:
        raise Refused(400, f"{name!r} lacks {', '.join(missing)}; give all four edges.")
    return box({name: ",".join(query[n] for n in names)}, name)


def point(query: Mapping, lat: str, lon: str) -> tuple[float, float] | None:
    """(lat, lon) of two parameters; None without either."""
    if not query.get(lat) and not query.get(lon):
        return None
    return number(query, lat, -90, 90), number(query, lon, -180, 180)


def coordinates(value) -> tuple[float, float] | None:
    """(lat, lon) of a text that is a point and nothing else: 48.85,2.35 or 48.85 2.35.

    Example:
        >>> coordinates("48.85, -2.35"), coordinates("48.85, 235")
        ((48.85, -2.35), None)
    """
    found = _POINT.fullmatch(value or "")
    if found is None:
        return None
    lat, lon = map(float, found.groups())
    return (lat, lon) if abs(lat) <= 90 and abs(lon) <= 180 else None


def countries(query: Mapping, name: str, known: Mapping[str, str]) -> frozenset[str]:
    """Country codes, separated by commas, as upper-case alpha-2 ones.

    Args:
        query: of the request.
        name: of the parameter.
        known: each code that may be given -> its alpha-2 code.
    """
    asked = [c.strip().upper() for c in query.get(name, "").split(",") if c.strip()]
    strange = [c for c in asked if c not in known]
    if strange:
        raise Refused(400, f"{name!r} has no country {strange[0][:10]!r}; give ISO codes: FR,JP.")
    return frozenset(known[c] for c in asked)


def truth(query: Mapping, name: str, default: bool = False) -> bool:
    """Whether a flag is set, in any of the usual ways."""
    value = query.get(name, "").lower()
    if value and value not in _FLAGS:
        raise Refused(400, f"{name!r} is 0 or 1, got {value[:10]!r}.")
    return _FLAGS[value] if value else default


def numbers(query: Mapping, name: str) -> frozenset[int]:
    """Whole numbers, separated by commas."""
    parts = [p.strip() for p in query.get(name, "").split(",") if p.strip()]
    strange = next((p for p in parts if not (p.isascii() and p.isdigit() and len(p) < 19)), None)
    if strange is not None:
        raise Refused(400, f"{name!r} are whole numbers, got {strange[:20]!r}.")
    return frozenset(map(int, parts))


def batch(body: bytes, content_type: str) -> tuple[list[dict], bool]:
    """(items with a `text` each, whether they came as NDJSON) of the body of `POST /batch`.

    A JSON list of strings or of objects with `text`, or one of these on each line. An item whose
    text cannot be geocoded has an `error`, a sentence, instead.

    Raises:
        Refused: anything else.
    """
    try:
        content = body.decode("utf-8-sig")  # files of Windows begin with a mark
    except UnicodeDecodeError:
        raise Refused(400, "the body should be UTF-8.") from None
    lines = "ndjson" in content_type or "jsonl" in content_type or "json-lines" in content_type
    if lines:
        pairs = enumerate(content.split("\n"), 1)
        items = [_json(row, f"line {n} of the body") for n, row in pairs if row.strip()]
    else:
        items = _json(content, "the body")
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
        try:
            own = {"text": text(item.get("text"), f"text of item {n}")}
        except Refused as refused:
            own = {"error": refused.detail}
        if "id" in item:
            own["id"] = _echoed(item["id"], n)
        found.append(own)
    return found, lines


def _json(content: str, what: str):
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise Refused(
            400, f"{what} is not valid JSON; give a list of texts, or as NDJSON a value a line."
        ) from None


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
