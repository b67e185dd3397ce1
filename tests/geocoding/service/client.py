"""A client of an ASGI application, in the same process."""

import asyncio
import json
import urllib.parse
from typing import NamedTuple


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self):
        return json.loads(self.body)


async def ask(app, method, path, query=None, body=b"", headers=(), parts=None):
    """One request, its query a mapping or bytes as they are; `parts` are the pieces of a body, a
    number being a pause in seconds."""
    words = query if isinstance(query, bytes) else urllib.parse.urlencode(query or {}).encode()
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method,
        "path": path, "raw_path": path.encode(errors="replace"), "root_path": "", "scheme": "http",
        "query_string": words,
        "headers": [(a.encode("latin-1"), b.encode("latin-1")) for a, b in headers],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
    }  # fmt: skip
    pieces = [body] if parts is None else list(parts)
    sent = []

    async def receive():
        while pieces:
            piece = pieces.pop(0)
            if isinstance(piece, float):
                await asyncio.sleep(piece)
                continue
            return {"type": "http.request", "body": piece, "more_body": bool(pieces)}
        await asyncio.sleep(3600)

    async def send(message):
        sent.append(message)

    await app(scope, receive, send)
    start = next(m for m in sent if m["type"] == "http.response.start")
    content = b"".join(m.get("body", b"") for m in sent if m["type"] == "http.response.body")
    found = {a.decode(): b.decode() for a, b in start["headers"]}
    return Answer(start["status"], found, content)


def get(app, path, **query):
    return asyncio.run(ask(app, "GET", path, {k.replace("__", "."): v for k, v in query.items()}))
