"""The map page: one file, local outlines, no request to anybody else."""

# ruff: noqa: E501 -- the page is one string

import functools
import gzip
import html as escaping
import json
import zlib

import numpy as np

from fl_jax.core import errors
from fl_jax.data import sources
from fl_jax.geocoding.service import openapi

STEP = 0.08  # degrees; outlines are drawn at a size at which more cannot be seen


@functools.cache
def outlines() -> bytes:
    """Borders of countries as a JSON list of rings [[lon, lat], ...]; empty without the data.

    Raises:
        DataError: the folder is there and its file is not, or is something else.
    """
    folder = sources.folder("countries-mledoze")
    if folder is None:
        return b"[]"
    path = folder / "outlines.geojson.gz"
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            features = json.load(file)["features"]
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError) as error:
        raise errors.DataError(
            f"{path} cannot be read ({type(error).__name__}: {error}); fetch it again."
        ) from None
    rings = []
    for feature in features:
        geometry = feature.get("geometry")
        if geometry is None:  # a country of the list without an outline
            continue
        parts = geometry["coordinates"]
        for polygon in [parts] if geometry["type"] == "Polygon" else parts:
            ring = np.array(polygon[0])[:, :2]
            if np.ptp(ring, axis=0).max() < 4 * STEP:
                continue
            kept = [ring[0]]
            for point in ring[1:-1]:
                if np.abs(point - kept[-1]).max() >= STEP:
                    kept.append(point)
            if len(kept) > 2:
                rings.append(np.round([*kept, kept[0]], 2).tolist())
    return json.dumps(rings, separators=(",", ":")).encode()


def html(notices: tuple[str, ...]) -> str:
    """The page."""
    return _PAGE.replace("{{notices}}", " ".join(escaping.escape(n) for n in notices))


def documentation() -> str:
    """The routes as a plain page."""
    rows = []
    for path, methods in openapi.SCHEMA["paths"].items():
        for method, what in methods.items():
            names = ", ".join(p["name"] for p in what.get("parameters", ()))
            cells = (f"<code>{method.upper()} {path}</code>", what["summary"], names)
            rows.append("<tr>" + "".join(f"<td>{c}</td>" for c in cells) + "</tr>")
    head = "<tr><th>route</th><th>what</th><th>parameters</th></tr>"
    return (
        "<!doctype html><meta charset=utf-8><title>Geocoder: routes</title><style>body{font:15px"
        " system-ui;margin:2em}td,th{text-align:left;padding:.3em 1em .3em 0;vertical-align:top}"
        f"</style><h1>Routes</h1><p>{escaping.escape(openapi.SCHEMA['info']['description'])}</p>"
        f"<table>{head}{''.join(rows)}</table><p>Machine-readable:"
        ' <a href="openapi.json">openapi.json</a>. Map: <a href="./">here</a>.'
    )


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Geocoder</title>
<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">
<style>
 body{margin:0;font:15px system-ui,sans-serif;color:#222;background:#f6f6f4}
 form{display:flex;gap:.5em;padding:.7em 1em;background:#fff;border-bottom:1px solid #ddd}
 input{flex:1;font:inherit;padding:.45em .6em;border:1px solid #bbb;border-radius:4px}
 button{font:inherit;padding:.45em 1.1em;border:0;border-radius:4px;background:#0b6aa2;color:#fff}
 main{display:flex;height:calc(100vh - 9.2em);min-height:320px}
 canvas{flex:1;min-width:0;cursor:grab}
 aside{width:21em;overflow:auto;padding:1em;background:#fff;border-left:1px solid #ddd}
 h2{margin:.2em 0;font-size:1.15em} .dim{color:#777} table{border-collapse:collapse;width:100%}
 td{padding:.15em .3em .15em 0} .bar{background:#0b6aa2;height:.7em;border-radius:2px}
 footer{padding:.5em 1em;font-size:.8em;color:#777}
</style></head><body>
<form id="form"><input id="text" autofocus placeholder="a place, described in any words or script"
 aria-label="text"><button>Find</button></form>
<main><canvas id="map"></canvas><aside id="side" aria-live="polite">
<p class="dim">Try “50 km north of Lyon”, “東京の神社”, “lake in Eksjö Municipality, Sweden”.</p>
</aside></main>
<footer>{{notices}} Drag to move, wheel to zoom. <a href="docs">API</a></footer>
<script>
"use strict";
const canvas = document.getElementById("map"), pen = canvas.getContext("2d");
const side = document.getElementById("side"), field = document.getElementById("text");
let outlines = [], answer = null, view = {lon: 10, lat: 25, scale: 2.2};
const square = (lat) => Math.log(Math.tan(Math.PI / 4 + lat * Math.PI / 360)) * 180 / Math.PI;
const bound = (lat) => Math.max(-84, Math.min(84, lat));
function place(lon, lat) {
  return [canvas.clientWidth / 2 + (lon - view.lon) * view.scale,
          canvas.clientHeight / 2 - (square(bound(lat)) - square(bound(view.lat))) * view.scale];
}
function ring(points, more) {
  if (!more) pen.beginPath();
  points.forEach(([lon, lat], n) => n ? pen.lineTo(...place(lon, lat)) : pen.moveTo(...place(lon, lat)));
}
function draw() {
  const dots = window.devicePixelRatio || 1, w = canvas.clientWidth, h = canvas.clientHeight;
  canvas.width = w * dots; canvas.height = h * dots; pen.setTransform(dots, 0, 0, dots, 0, 0);
  pen.fillStyle = "#dfe8ee"; pen.fillRect(0, 0, w, h);
  pen.strokeStyle = "#c9d5dd"; pen.lineWidth = 0.5;
  for (let lon = -180; lon <= 180; lon += 15) { ring([[lon, -84], [lon, 84]]); pen.stroke(); }
  for (let lat = -75; lat <= 75; lat += 15) { ring([[-180, lat], [180, lat]]); pen.stroke(); }
  pen.strokeStyle = "#9aa5a0"; pen.fillStyle = "#f7f6f1"; pen.lineWidth = 0.7;
  for (const points of outlines) { ring(points); pen.fill(); pen.stroke(); }
  if (!answer || !answer.found) return;
  pen.fillStyle = "rgba(11,106,162,.28)"; pen.strokeStyle = "rgba(11,106,162,.6)";
  for (const polygon of answer.region.geometry.coordinates) { polygon.forEach(ring); pen.fill("evenodd"); pen.stroke(); }
  const [x, y] = place(answer.lon, answer.lat);
  pen.fillStyle = "#c1272d"; pen.beginPath(); pen.arc(x, y, 5, 0, 7); pen.fill();
}
function tell(text, kind) {
  const node = document.createElement(kind || "p"); node.textContent = text; side.append(node); return node;
}
function show() {
  side.replaceChildren();
  if (!answer.found) { tell("No place", "h2"); tell("Nothing in this text is likely enough to be a place."); return; }
  tell(answer.place ? answer.place.display_name : "Not a listed place", "h2");
  tell(`${answer.lat.toFixed(4)}, ${answer.lon.toFixed(4)}`).className = "dim";
  tell(`within 161 km with probability ${(100 * answer.confidence).toFixed(0)} %`);
  const table = document.createElement("table"); side.append(table);
  for (const cell of answer.cells) {
    const row = table.insertRow();
    row.insertCell().textContent = cell.path;
    row.insertCell().textContent = (100 * cell.p).toFixed(1) + " %";
    const bar = document.createElement("div"); bar.className = "bar";
    bar.style.width = Math.max(1, 100 * cell.p) + "%";
    const last = row.insertCell(); last.style.width = "45%"; last.append(bar);
  }
  tell(`Shaded: the smallest region that holds the place with ${100 * answer.region.mass} %.`).className = "dim";
}
async function find(event) {
  if (event) event.preventDefault();
  if (!field.value.trim()) return;
  history.replaceState(null, "", "#" + encodeURIComponent(field.value));
  const response = await fetch("locate?text=" + encodeURIComponent(field.value));
  const body = await response.json();
  if (!response.ok) { side.replaceChildren(); tell(body.detail); return; }
  answer = body; show();
  if (answer.found) {
    const lons = [answer.lon], lats = [answer.lat];
    for (const polygon of answer.region.geometry.coordinates)
      for (const [lon, lat] of polygon[0]) { lons.push(lon); lats.push(bound(lat)); }
    const width = Math.max(...lons) - Math.min(...lons), height = Math.max(...lats) - Math.min(...lats);
    view.lon = (Math.max(...lons) + Math.min(...lons)) / 2; view.lat = (Math.max(...lats) + Math.min(...lats)) / 2;
    view.scale = Math.min(60, Math.max(2, Math.min(canvas.clientWidth / (1.6 * width + 4), canvas.clientHeight / (2.2 * height + 4))));
  }
  draw(); document.body.dataset.ready = "yes";
}
document.getElementById("form").addEventListener("submit", find);
canvas.addEventListener("wheel", (e) => { e.preventDefault();
  view.scale = Math.min(400, Math.max(1, view.scale * Math.exp(-e.deltaY / 500))); draw(); }, {passive: false});
let grabbed = null;
canvas.addEventListener("pointerdown", (e) => { grabbed = [e.clientX, e.clientY, view.lon, view.lat]; });
window.addEventListener("pointerup", () => { grabbed = null; });
window.addEventListener("pointermove", (e) => { if (!grabbed) return;
  view.lon = grabbed[2] - (e.clientX - grabbed[0]) / view.scale;
  view.lat = bound(grabbed[3] + (e.clientY - grabbed[1]) / view.scale * Math.cos(view.lat * Math.PI / 180)); draw(); });
window.addEventListener("resize", draw);
fetch("outlines").then((r) => r.json()).then((rings) => { outlines = rings; draw(); });
if (location.hash) { field.value = decodeURIComponent(location.hash.slice(1)); find(); }
draw();
</script></body></html>
"""
