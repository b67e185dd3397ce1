"""What `python -m experiments geocoding` does besides a run: `config.COMMANDS`."""

import csv
import dataclasses
import json
import pathlib

from experiments import arguments
from fl_jax.core import errors


def serve(argv: list[str]) -> int:
    """The service of a finished run, on the loopback interface unless told otherwise."""
    parser = arguments.command(
        "geocoding", "serve", "Answers on http://127.0.0.1:8080/ until it is interrupted."
    )
    parser.add_argument("run", help="folder of a finished run")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    asked = arguments.read(parser, argv)
    try:
        import starlette
        import uvicorn
    except ModuleNotFoundError as error:
        raise errors.ConfigError(
            f"the service needs {error.name}; install the extra: pip install 'fl-jax[serve]'."
        ) from None
    del starlette, uvicorn
    from fl_jax.geocoding.service import run

    run.serve(_load(asked.run), host=asked.host, port=asked.port)
    return 0


def calibrate(argv: list[str]) -> int:
    """Calibrates a geocoder on the development items and writes it back with that."""
    parser = arguments.command(
        "geocoding", "calibrate", "Calibrates the geocoder in a folder, which is written anew."
    )
    parser.add_argument("run", help="folder of a run")
    parser.add_argument("--items", default="", help="file of items that it was trained on")
    asked = arguments.read(parser, argv)
    from experiments.geocoding import config, evaluation, task

    data = task.load(dataclasses.replace(config.SMALL, items=asked.items))
    found = _load(asked.run, data.gazetteer, calibrated=False)
    evaluation.calibrate(found, data.dev)
    found.save(_folder(asked.run))
    count = min(len(data.dev.lat), evaluation.DEV)
    print(f"calibrated on {count} development items: {_folder(asked.run)}")
    return 0


def evaluate(argv: list[str]) -> int:
    """Evaluates a geocoder as it is on the test items; its folder stays as it is."""
    parser = arguments.command(
        "geocoding", "evaluate", "Every table of a run, for the geocoder in a folder."
    )
    parser.add_argument("run", help="folder of a run")
    parser.add_argument("--items", default="", help="file of items that it was trained on")
    parser.add_argument("--rows", type=int, default=2000, help="test items, at most")
    parser.add_argument("--out", default=None, help="folder for report.md and the pictures")
    asked = arguments.read(parser, argv)
    errors.positive("rows", asked.rows)
    from experiments.geocoding import config, evaluation, report, run, task
    from fl_jax.core import tree

    settings = dataclasses.replace(
        config.SMALL, items=asked.items, test=asked.rows, names=asked.rows
    )
    data = task.load(settings)
    found = _load(asked.run, data.gazetteer)
    details = {
        "origin": data.origin,
        "notices": list(data.gazetteer.notices),
        "leaves": len(found.partition.leaves),
        "parameters": tree.size(found.params),
        "examples": evaluation.shown(found, run.EXAMPLES),
        **evaluation.everything(settings, found, data),
    }
    parts = [report.table(details), report.probability_table(details)]
    parts.append(report.check_table(details["checks"]))
    text = "\n\n".join([*parts, report.example_table(details["examples"])])
    if asked.out:
        out = pathlib.Path(asked.out)
        out.mkdir(parents=True, exist_ok=True)
        (out / "report.md").write_text(text + "\n")
        (out / "details.json").write_text(json.dumps(details))
        report.draw_errors(details, out / "errors.png")
        report.draw_calibration(details, out / "calibration.png")
        report.draw_map(details, out / "map.png")
    print(text)
    return 0


def text(argv: list[str]) -> int:
    """Prints where one text is, as JSON."""
    parser = arguments.command("geocoding", "text", "Where one text is.")
    parser.add_argument("run", help="folder of a finished run")
    parser.add_argument("text")
    parser.add_argument("--residual", type=float, default=0.001)
    parser.add_argument("--region", type=float, help="also the region of this mass, as GeoJSON")
    asked = arguments.read(parser, argv)
    from fl_jax.geocoding.service import formats

    found = _load(asked.run)
    (answer,) = found.geocode([asked.text], residual=asked.residual)
    body = formats.ours(found, answer, polygon=asked.region)
    print(json.dumps(body, ensure_ascii=False, indent=1))
    return 0


def batch(argv: list[str]) -> int:
    """Geocodes a file: CSV, JSONL or Parquet in, the same with columns added out."""
    parser = arguments.command(
        "geocoding",
        "batch",
        "Adds lat, lon, confidence, place, geonameid, country, cell and error (of a text that"
        " is too long); geocoded_lat and so on where the file has a column of that name.",
    )
    parser.add_argument("run", help="folder of a finished run")
    parser.add_argument("source", help=".csv, .tsv, .jsonl or .parquet")
    parser.add_argument("target", help="of the same kind, or another one of these")
    parser.add_argument("--column", default="text", help="that holds the texts")
    parser.add_argument("--residual", type=float, default=0.05)
    asked = arguments.read(parser, argv)
    from fl_jax.train import metrics

    rows = read_rows(pathlib.Path(asked.source), asked.column)
    found = _load(asked.run)
    from fl_jax.geocoding.geocoder import LIMIT

    taken, out, count = {name for row in rows for name in row}, [], 0
    with metrics.Progress(len(rows), what="text") as progress:
        progress.update(0)
        for start in range(0, len(rows), 64):
            some = rows[start : start + 64]
            texts = [str(r[asked.column] or "") for r in some]
            kept = [text if len(text) <= LIMIT else "" for text in texts]
            answers = found.geocode(kept, residual=asked.residual)
            count += sum(a.found for a in answers)
            added = [_columns(found, a) | {"error": _too_long(t, LIMIT)}
                     for t, a in zip(texts, answers, strict=True)]  # fmt: skip
            out += [{**r, **_beside(taken, a)} for r, a in zip(some, added, strict=True)]
            progress.update(len(out))
    write_rows(pathlib.Path(asked.target), out)
    print(f"{len(out)} texts, {count} of them found: {asked.target}")
    return 0


def score(argv: list[str]) -> int:
    """The standard geoparsing measures of a corpus of toponyms in context."""
    parser = arguments.command(
        "geocoding", "score", "Accuracy@161, mean, median and AUC of a corpus (documented JSONL)."
    )
    parser.add_argument("run", help="folder of a finished run")
    parser.add_argument("corpus", help="JSONL; fl_jax.geocoding.geoparsing says how it looks")
    asked = arguments.read(parser, argv)
    from fl_jax.geocoding import geoparsing

    documents = geoparsing.read(asked.corpus)
    for name, value in geoparsing.score(_load(asked.run), documents).items():
        print(f"{name:10} {value:.4g}")
    return 0


def federated(argv: list[str]) -> int:
    """Trains over users with places of their own: federated.json and a table."""
    parser = arguments.command(
        "geocoding", "federated", "FedAvg and DP-FedAvg beside training in one place; an attack."
    )
    parser.add_argument("--preset", default="small", help="smoke or small")
    parser.add_argument("--out", default="runs/geocoding-federated", help="folder to write")
    asked = arguments.read(parser, argv)
    errors.one_of("preset", asked.preset, ("smoke", "small"))
    out = pathlib.Path(asked.out)
    if (out / "0").exists():
        raise errors.ConfigError(f"{out} holds such a run already; give another --out.")
    import time

    from experiments import result
    from experiments.geocoding import federated as comparing

    start, used = time.perf_counter(), time.process_time()
    chosen = {"smoke": comparing.SMOKE_FEDERATED, "small": comparing.SMALL_FEDERATED}
    found = comparing.compare(chosen[asked.preset], out, lambda said: print(said, flush=True))
    about = {
        "command": "python -m experiments geocoding federated",
        "preset": asked.preset,
        "seconds": round(time.perf_counter() - start, 1),
        "CPU seconds": round(time.process_time() - used, 1),
        "device": result.device(),
        "versions": result.versions(),
    }
    body = {"rows": found.rows, "facts": found.facts, **about}
    (out / "federated.json").write_text(json.dumps(body, indent=1) + "\n")
    print(comparing.report(found.rows))
    print(f"\nfederated.json: {out}")
    return 0


def dump(argv: list[str]) -> int:
    """Items with coordinates on Earth out of a Wikidata dump; goes on where it stopped."""
    parser = arguments.command(
        "geocoding", "dump", "latest-all.json.bz2 to rows of id, label, description, lat, lon."
    )
    parser.add_argument("source")
    parser.add_argument("target")
    parser.add_argument("--language", default="en")
    asked = arguments.read(parser, argv)
    from fl_jax.geocoding import wikidata

    lines = wikidata.extract(asked.source, asked.target, language=asked.language)
    print(f"{lines} lines read; {asked.target}")
    return 0


def read_rows(path: pathlib.Path, column: str) -> list[dict]:
    """The rows of a file of texts.

    Raises:
        DataError: it cannot be read, or has no such column.
    """
    if not path.is_file():
        raise errors.DataError(f"{path} is not there.")
    kind = errors.one_of("kind of file", path.suffix, (".csv", ".tsv", ".jsonl", ".parquet"))
    try:
        if kind == ".parquet":
            rows = _arrow().parquet.read_table(path).to_pylist()
        elif kind == ".jsonl":
            lines = path.read_text("utf-8-sig").split("\n")  # splitlines cuts at U+2028 as well
            rows = [json.loads(line) for line in lines if line.strip()]
        else:
            with path.open(encoding="utf-8-sig", newline="") as file:  # Excel begins with a BOM
                rows = list(csv.DictReader(file, delimiter="\t" if kind == ".tsv" else ","))
    except (ValueError, csv.Error) as error:
        raise errors.DataError(f"{path} cannot be read as {kind}: {str(error)[:120]}.") from None
    bad = next((n for n, r in enumerate(rows) if not isinstance(r, dict) or column not in r), None)
    if bad is not None:
        raise errors.DataError(f"row {bad + 1} of {path} has no column {column!r}; give --column.")
    return rows


def write_rows(path: pathlib.Path, rows: list[dict]) -> None:
    """Writes rows in the format of the file's ending."""
    kind = errors.one_of("kind of file", path.suffix, (".csv", ".tsv", ".jsonl", ".parquet"))
    if kind == ".parquet":
        arrow = _arrow()
        arrow.parquet.write_table(arrow.Table.from_pylist(rows), path)
        return
    with path.open("w", encoding="utf-8", newline="") as file:
        if kind == ".jsonl":
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            return
        names = list(dict.fromkeys(name for row in rows for name in row))
        writer = csv.DictWriter(file, names, delimiter="\t" if kind == ".tsv" else ",")
        writer.writeheader()
        writer.writerows(rows)


def _arrow():
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError:
        raise errors.ConfigError("Parquet needs pyarrow: pip install pyarrow.") from None
    return pyarrow


def _columns(found, answer) -> dict:
    """What is added to a row."""
    if not answer.found:
        empty = dict.fromkeys(("lat", "lon", "place", "geonameid", "country"))
        return {**empty, "confidence": round(answer.confidence, 6), "cell": None}
    places, row = found.gazetteer, answer.place
    return {
        "lat": round(answer.lat, 6),
        "lon": round(answer.lon, 6),
        "place": places.display(row) if row >= 0 else None,
        "geonameid": int(places.ids[row]) if row >= 0 else None,
        "country": places.country_code(row) if row >= 0 else None,
        "confidence": round(answer.confidence, 6),
        "cell": found.partition.label(answer.nested[-1][0]),
    }


def _too_long(text: str, limit: int) -> str | None:
    """Why a text is not geocoded, None if it is."""
    return f"{len(text)} characters; the limit is {limit}" if len(text) > limit else None


def _beside(taken: set[str], added: dict) -> dict:
    """Columns under names that the file does not have: what it holds is never written over."""
    return {f"geocoded_{n}" if n in taken else n: v for n, v in added.items()}


def _load(run, places=None, *, calibrated=True):
    from fl_jax.geocoding import geocoder

    return geocoder.load(_folder(run), places, calibrated=calibrated)


def _folder(run) -> pathlib.Path:
    """Where the geocoder of a run is."""
    folder = pathlib.Path(run)
    return folder / "geocoder" if (folder / "geocoder").is_dir() else folder
