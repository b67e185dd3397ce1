"""Whatever the OpenAPI description allows, and much that it does not: never a 500."""

import asyncio
import importlib.util
import json
import pathlib
import urllib.parse

import hypothesis
import pytest
from hypothesis import strategies as st

from fl_jax.geocoding.service import app as application
from fl_jax.geocoding.service import openapi

_spec = importlib.util.spec_from_file_location(
    "client", pathlib.Path(__file__).parent / "client.py"
)
client = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(client)

ROUTES = [(p, m, w) for p, ways in openapi.SCHEMA["paths"].items() for m, w in ways.items()]
SETTINGS = {"deadline": None, "database": None, "derandomize": True,
            "suppress_health_check": list(hypothesis.HealthCheck)}  # fmt: skip
KNOWN = ["Lyon", "東京の神社", "50 km north of Toronto", "-1", "1e999", "nan", "180", "1,2,3,4",
         "jsonv2", "geojson", "geocodejson", "1", "true", "fr,jp", ",,,", "-0.0", "٣",
         "1_0"]  # fmt: skip


def texts():
    """Any characters, halves of characters too."""
    alphabet = st.characters(codec=None)
    return st.sampled_from(KNOWN) | st.text(alphabet, max_size=40) | st.just("a" * 10_001)


def values(schema):
    """Values of a parameter: mostly of its type, sometimes of none."""
    kind = schema["type"]
    own = {"number": st.floats() | st.floats(-180, 180), "integer": st.integers()}.get(kind)
    return texts() if own is None else own.map(str) | texts()


def json_values():
    """Anything that a JSON text can say, numbers that are none and halves of characters too."""
    leaves = st.none() | st.booleans() | st.integers() | st.floats() | texts()
    nest = lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["text", "id", "texts"]) | texts(), inner, max_size=3)
    )
    return st.recursive(leaves, nest, max_leaves=8)


def items():
    """What a batch is made of, its ids of any kind."""
    text = st.sampled_from(KNOWN)
    return st.lists(text | st.fixed_dictionaries({"text": text, "id": json_values()}), max_size=3)


def bodies():
    """Batches, other JSON, lines of it, nestings, and bytes."""
    asked = items() | items().map(lambda i: {"texts": i}) | json_values()
    whole = asked.map(lambda v: json.dumps(v).encode())
    lines = items().map(lambda i: "\n".join(map(json.dumps, i)).encode())
    deep = st.integers(1, 100_000).map(lambda n: b"[" * n)
    deeper = st.just(b'[{"text":"Lyon","id":' + b"[" * 900 + b"]" * 900 + b"}]")
    long = st.just(b'[{"text":"Lyon","id":' + b"9" * 5000 + b"}]")
    return whole | lines | deep | deeper | long | st.binary(max_size=60)


@pytest.fixture(scope="module")
def app(geocoder):
    pytest.importorskip("starlette")
    return application.make(geocoder)


@pytest.mark.parametrize(("path", "method", "what"), ROUTES, ids=[r[0] for r in ROUTES])
def test_no_query_of_a_route_gives_a_500(app, path, method, what):
    names = {p["name"]: p["schema"] for p in what["parameters"]}
    count = 40 if len(names) > 1 else 12 if names else 2

    @hypothesis.settings(max_examples=count, **SETTINGS)
    @hypothesis.given(
        query=st.fixed_dictionaries({}, optional={n: values(s) for n, s in names.items()}),
        more=st.dictionaries(texts(), texts(), max_size=1),
    )
    def ask(query, more):
        sent = urllib.parse.urlencode({**more, **query}, errors="surrogatepass").encode()
        found = asyncio.run(client.ask(app, method.upper(), path, sent, b'["Lyon"]'))
        check(found, what)

    ask()


@hypothesis.settings(max_examples=80, **SETTINGS)
@hypothesis.given(
    body=bodies(),
    kind=st.sampled_from(["application/json", "application/x-ndjson", "", "text/plain; charset=x"]),
    length=st.sampled_from([None, "0", "x", "-1", "99999999999999999999"]),
)
def test_no_body_gives_a_500(app, body, kind, length):
    headers = [("content-type", kind)] + ([] if length is None else [("content-length", length)])
    found = asyncio.run(client.ask(app, "POST", "/batch", b"", body, headers))
    check(found, openapi.SCHEMA["paths"]["/batch"]["post"])


@hypothesis.settings(max_examples=40, **SETTINGS)
@hypothesis.given(
    method=st.sampled_from(["GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE"]),
    path=st.sampled_from([r[0] for r in ROUTES]) | st.text(max_size=20).map(lambda t: "/" + t),
    query=st.binary(max_size=30),
    header=st.tuples(
        st.sampled_from(
            [
                "accept",
                "origin",
                "content-type",
                "accept-language",
                "host",
                "access-control-request-method",
            ]
        ),
        st.text("\x20!\x7fÿ,;=*/q", max_size=20),
    ),
)
def test_no_request_at_all_gives_a_500(app, method, path, query, header):
    found = asyncio.run(client.ask(app, method, path, query, b"[]", [header]))
    assert found.status < 500


def check(found, what):
    """A status that the description names, and the body that goes with it."""
    assert str(found.status) in what["responses"], (found.status, found.body)
    kind = found.headers["content-type"]
    if "ndjson" in kind:
        assert all(isinstance(json.loads(line), dict) for line in found.body.splitlines())
    elif "json" in kind:
        value = found.json()
        if found.status >= 400:
            assert value["status"] == found.status and len(value["detail"]) > 8
