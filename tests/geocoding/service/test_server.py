"""The service behind a real server: clients of others, logs, overload, memory, a browser."""

import asyncio
import concurrent.futures
import contextlib
import copy
import importlib.util
import itertools
import json
import logging
import pathlib
import resource
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request

import pytest

from fl_jax.core import errors
from fl_jax.geocoding.service import app as application
from fl_jax.geocoding.service import run

_spec = importlib.util.spec_from_file_location(
    "client", pathlib.Path(__file__).parent / "client.py"
)
client = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(client)

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


@contextlib.contextmanager
def serving(app):
    """The port of a server, as `run.serve` sets it up, while the context lasts."""
    uvicorn = pytest.importorskip("uvicorn")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(64)
        server = uvicorn.Server(uvicorn.Config(app, **run.SETTINGS))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([taken])))
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield taken.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def port(geocoder):
    pytest.importorskip("starlette")
    with serving(application.make(geocoder)) as found:
        yield found


def fetch(port, path, body=None):
    """(status, headers, body) of a request over the network."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data=body)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def test_an_address_that_cannot_be_had_is_said_before_anything_is_compiled(
    port, geocoder, monkeypatch
):
    monkeypatch.setattr(type(geocoder), "warm", lambda self: pytest.fail("compiled"))
    for host, number, said in (
        ("127.0.0.1", port, "in use"),
        ("127.0.0.1", 70_000, "from 0 to 65535"),  # which was port 4464
        ("nowhere.invalid", 8080, "cannot be listened on"),
    ):
        with pytest.raises(errors.ConfigError, match=said):
            run.serve(geocoder, host=host, port=number)
    with run.bound("localhost", 0) as taken:
        assert taken.getsockname()[1] > 0


def test_serving_is_at_the_address_that_was_bound(geocoder, monkeypatch):
    uvicorn = pytest.importorskip("uvicorn")
    asked = {}

    def answered(server, sockets):
        asked.update(limit=server.config.limit_concurrency, at=sockets[0].getsockname())
        raise KeyboardInterrupt  # as after Ctrl-C, which is how serving ends

    monkeypatch.setattr(uvicorn.Server, "run", answered)
    monkeypatch.setattr(type(geocoder), "warm", lambda self: None)
    run.serve(geocoder, port=0)
    assert asked["limit"] == run.CONNECTIONS and asked["at"][0] == "127.0.0.1"


def test_geopy_works_unchanged(port):
    geocoders = pytest.importorskip("geopy.geocoders")
    where = {"domain": f"127.0.0.1:{port}", "scheme": "http", "timeout": 60}
    nominatim = geocoders.Nominatim(user_agent="a test", **where)
    found = nominatim.geocode("Москва")
    assert found.address == "Moscow, Russia" and found.latitude == pytest.approx(55.75)
    several = nominatim.geocode(
        "Lyon", exactly_one=False, limit=3, addressdetails=True, language="en",
        country_codes=["fr"], viewbox=[(40, 0), (50, 10)], bounded=True, geometry="geojson",
    )  # fmt: skip
    assert several[0].raw["address"]["country_code"] == "fr"
    assert nominatim.geocode({"city": "Lyon", "country": "France"}).latitude > 45
    assert nominatim.geocode("zzz qqq") is None
    assert nominatim.reverse((48.8, 2.4)).address == "Paris, France"
    photon = geocoders.Photon(user_agent="a test", **where)
    assert photon.geocode("Lyon").latitude == pytest.approx(several[0].latitude)
    assert photon.reverse((48.8, 2.4)).latitude == pytest.approx(48.85)
    pelias = geocoders.Pelias(user_agent="a test", **where)
    assert "Lyon" in pelias.geocode("Lyon").address
    assert "Paris" in pelias.reverse((48.8, 2.4)).address


def test_no_log_holds_what_was_asked(port, geocoder, caplog):
    def geocode(texts, **settings):
        raise ValueError(f"cannot do {texts}")

    broken = copy.copy(geocoder)
    broken.geocode = geocode
    paths = ["/search?q=secret", "/locate?text=secret%00", "/secret?q=secret",
             "/api?q=s&limit=secret", "/geocoding?text=zzz%20secret",
             "/mentions?text=secret"]  # fmt: skip
    with caplog.at_level(logging.DEBUG):
        seen = [fetch(port, path)[0] for path in paths]
        seen.append(fetch(port, "/batch", b'["secret"')[0])
        with serving(application.make(broken)) as other:
            status, headers, body = fetch(other, "/search?q=secret")
    assert seen == [200, 400, 404, 400, 404, 200, 400]
    assert status == 500 and headers["content-type"] == "application/problem+json"
    assert b"secret" not in body
    assert "ValueError" in caplog.text and "/search" in caplog.text
    own = [r for r in caplog.records if not r.name.startswith("asyncio")]
    assert own and not any("secret" in r.getMessage() for r in own)


def test_too_many_at_once_are_told_to_come_back(geocoder):
    pytest.importorskip("starlette")
    with serving(application.make(geocoder, requests=2, body_seconds=2.0)) as port:
        slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(2)]
        for one in slow:  # bodies that do not come
            one.sendall(b"POST /batch HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n[")
        time.sleep(0.5)
        status, headers, body = fetch(port, "/search?q=Lyon")
        assert status == 503 and int(headers["retry-after"]) > 0
        assert json.loads(body)["status"] == 503
        for one in slow:
            with one:
                one.settimeout(60)
                assert b" 408 " in one.recv(200)
        assert fetch(port, "/search?q=Lyon")[0] == 200


def test_a_client_that_does_not_read_holds_up_no_shutdown(geocoder, monkeypatch):
    assert 0 < run.SETTINGS["timeout_graceful_shutdown"] <= 10
    monkeypatch.setitem(run.SETTINGS, "timeout_graceful_shutdown", 1)
    pytest.importorskip("starlette")
    lines = b'"Lyon"\n' * 5000
    head = b"POST /batch HTTP/1.1\r\nhost: a\r\ncontent-type: application/x-ndjson\r\n"
    with socket.socket() as idle:
        idle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with serving(application.make(geocoder)) as port:
            idle.connect(("127.0.0.1", port))
            idle.sendall(head + b"content-length: %d\r\n\r\n" % len(lines) + lines)
            assert idle.recv(15) == b"HTTP/1.1 200 OK"
            start = time.perf_counter()
        assert time.perf_counter() - start < 30  # without the setting it never ends


@pytest.mark.slow
def test_memory_is_flat_over_ten_thousand_requests(port):
    paths = ["/search?q=Lyon%20{}", "/api?q=50%20km%20north%20of%20Oslo%20{}", "/locate?text=zz{}",
             "/reverse?lat=1&lon={}", "/v1/search?text={}",
             "/mentions?text=Cairo%20{}"]  # fmt: skip

    def some(numbers):
        return [fetch(port, paths[n % len(paths)].format(n % 180))[0] for n in numbers]

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        parts = lambda a, b: [range(start, start + 50) for start in range(a, b, 50)]
        work = lambda a, b: list(itertools.chain(*pool.map(some, parts(a, b))))
        work(0, 2000)
        before = _resident()
        seen = work(2000, 12_000)
    assert set(seen) <= {200, 404} and len(seen) == 10_000
    assert _resident() - before < 25, (before, _resident())


@pytest.mark.slow
def test_the_map_page_in_a_browser(port, geocoder, tmp_path):
    found = next((b for b in map(shutil.which, BROWSERS) if b), None)
    if found is None:
        pytest.skip(f"no browser is installed (looked for {', '.join(BROWSERS)})")

    def browse(*more, path="/#Lyon"):
        command = [found, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-extensions",
                   "--disable-background-networking", "--enable-logging=stderr",
                   f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1200,800",
                   "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
                   "--virtual-time-budget=20000", *more,
                   f"http://127.0.0.1:{port}{path}"]  # fmt: skip
        return subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)

    done = browse("--dump-dom")
    assert 'data-ready="yes"' in done.stdout
    assert "Lyon, France" in done.stdout
    assert all(notice in done.stdout for notice in geocoder.gazetteer.notices)
    complaints = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert not complaints, complaints
    nothing = browse("--dump-dom", path="/#zzz%20qqq").stdout
    assert "No place" in nothing
    browse(f"--screenshot={tmp_path / 'page.png'}")
    picture = (tmp_path / "page.png").read_bytes()
    assert picture[:8] == b"\x89PNG\r\n\x1a\n" and len(picture) > 20_000


def _resident() -> float:
    """MB of this process that are in memory now."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20
