"""What `python -m experiments geocoding` does besides a run: `config.COMMANDS`."""

import csv
import dataclasses
import json
import pathlib

from experiments import arguments
from fl_jax.core import errors

KINDS = (".csv", ".tsv", ".jsonl", ".parquet")


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
    from fl_jax.geocoding import store

    data = task.load(dataclasses.replace(config.SMALL, items=asked.items))
    found = _load(asked.run, data.gazetteer, calibrated=False)
    evaluation.calibrate(found, data.dev)
    store.save(found, _folder(asked.run))
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

    if asked.region is not None and not 0 < asked.region < 1:
        raise errors.ConfigError(f"--region is a mass between 0 and 1, got {asked.region}.")
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
        "Adds lat, lon, confidence, place, geonameid, country, cell and error (of what cannot be"
        " geocoded); geocoded_lat and so on where the file has a column of that name.",
    )
    parser.add_argument("run", help="folder of a finished run")
    parser.add_argument("source", help=".csv, .tsv, .jsonl or .parquet")
    parser.add_argument("target", help="of the same kind, or another one of these")
    parser.add_argument("--column", default="text", help="that holds the texts")
    parser.add_argument("--residual", type=float, default=0.05)
    asked = arguments.read(parser, argv)
    from fl_jax.train import metrics

    target = pathlib.Path(asked.target)
    _writable(target)
    rows = read_rows(pathlib.Path(asked.source), asked.column)
    found = _load(asked.run)
    taken, out, count = {name for row in rows for name in row}, [], 0
    with metrics.Progress(len(rows), what="text") as progress:
        progress.update(0)
        for start in range(0, len(rows), 64):
            some = rows[start : start + 64]
            texts, unfit = zip(*(_text(r[asked.column]) for r in some), strict=True)
            answers = found.geocode(texts, residual=asked.residual)
            count += sum(a.found for a in answers)
            added = [_columns(found, a) | {"error": why}
                     for why, a in zip(unfit, answers, strict=True)]  # fmt: skip
            out += [{**r, **_beside(taken, a)} for r, a in zip(some, added, strict=True)]
            progress.update(len(out))
    write_rows(target, out)
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
        DataError: it cannot be read, has no rows or no such column, two columns of one name, or a
            row with more fields than there are columns.
    """
    if not path.is_file():
        raise errors.DataError(f"{path} is not there.")
    kind = errors.one_of("kind of file", path.suffix, KINDS)
    names: list[str] = []
    try:
        if kind == ".parquet":
            rows = _arrow().parquet.read_table(path).to_pylist()
        elif kind == ".jsonl":
            lines = path.read_text("utf-8-sig").split("\n")  # splitlines cuts at U+2028 as well
            rows = [json.loads(line) for line in lines if line.strip()]
        else:
            with path.open(encoding="utf-8-sig", newline="") as file:  # Excel begins with a BOM
                reader = csv.DictReader(file, delimiter="\t" if kind == ".tsv" else ",")
                names, rows = list(reader.fieldnames or ()), list(reader)
    except (ValueError, csv.Error) as error:
        raise errors.DataError(f"{path} cannot be read as {kind}: {str(error)[:120]}.") from None
    twice = next((n for n in names if names.count(n) > 1), None)
    if twice is not None:
        raise errors.DataError(f"{path} has two columns {twice!r}; name them apart.")
    if not rows:
        raise errors.DataError(f"{path} has no rows.")
    long = next((n for n, row in enumerate(rows, 1) if isinstance(row, dict) and None in row), None)
    if long is not None:
        raise errors.DataError(
            f"row {long} of {path} has more fields than there are columns; quote what holds the"
            " sign between them."
        )
    bad = next((n for n, r in enumerate(rows) if not isinstance(r, dict) or column not in r), None)
    if bad is not None:
        raise errors.DataError(f"row {bad + 1} of {path} has no column {column!r}; give --column.")
    for row in rows:
        if isinstance(row[column], bytes):  # Parquet without the mark that they are text
            row[column] = row[column].decode("utf-8", "surrogateescape")
    return rows


def write_rows(path: pathlib.Path, rows: list[dict]) -> None:
    """Writes rows in the format of the file's ending."""
    kind = errors.one_of("kind of file", path.suffix, KINDS)
    names = list(dict.fromkeys(name for row in rows for name in row))
    # Halves of characters become \\ud83d and the like, as JSON writes them.
    if kind == ".parquet":
        arrow = _arrow()
        columns = {name: _column(arrow, [row.get(name) for row in rows]) for name in names}
        arrow.parquet.write_table(arrow.table(columns), path)
        return
    with path.open("w", encoding="utf-8", newline="", errors="backslashreplace") as file:
        if kind == ".jsonl":
            plain = lambda row: json.dumps(row, ensure_ascii=False, default=str)
            file.writelines(plain(row) + "\n" for row in rows)
            return
        writer = csv.DictWriter(file, names, delimiter="\t" if kind == ".tsv" else ",")
        writer.writeheader()
        writer.writerows(rows)


def _column(arrow, values: list):
    """Values as a column; those of several kinds as text."""
    whole = lambda v: v.encode(errors="backslashreplace").decode() if isinstance(v, str) else v
    values = [whole(v) for v in values]
    try:
        return arrow.array(values)
    except (arrow.ArrowInvalid, arrow.ArrowTypeError):
        plain = lambda v: json.dumps(v, ensure_ascii=False, default=str)
        return arrow.array([v if v is None or isinstance(v, str) else plain(v) for v in values])


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


def _text(value) -> tuple[str, str | None]:
    """(what is geocoded, why that is nothing though a value is there) of a value of a file."""
    from fl_jax.geocoding.geocoder import LIMIT

    if value is None or value != value:  # NaN, as pandas writes what is missing
        return "", None
    if not isinstance(value, str):
        return "", f"no text but {type(value).__name__}"
    if len(value) > LIMIT:
        return "", f"{len(value)} characters; the limit is {LIMIT}"
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return "", "no Unicode text"
    return value, None


def _writable(path: pathlib.Path) -> None:
    """Refuses a file that could not be written, before hours of work for it."""
    if errors.one_of("kind of file", path.suffix, KINDS) == ".parquet":
        _arrow()
    if not path.parent.is_dir():
        raise errors.DataError(f"{path.parent} is no folder; make it first.")


def _beside(taken: set[str], added: dict) -> dict:
    """Columns under names that the file does not have: what it holds is never written over."""
    prefix = ""
    while taken & {prefix + n for n in added if prefix or n in taken}:
        prefix += "geocoded_"
    return {prefix + n if n in taken else n: v for n, v in added.items()}


def _load(run, places=None, *, calibrated=True):
    from fl_jax.geocoding import store

    return store.load(_folder(run), places, calibrated=calibrated)


def _folder(run) -> pathlib.Path:
    """Where the geocoder of a run is."""
    folder = pathlib.Path(run)
    return folder / "geocoder" if (folder / "geocoder").is_dir() else folder
