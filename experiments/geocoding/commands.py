"""What `python -m experiments geocoding` does besides a run: `config.COMMANDS`."""

import dataclasses
import json
import pathlib
import sys

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
    """Calibrates a geocoder on the development items, and tells it names from words, anew."""
    parser = arguments.command(
        "geocoding", "calibrate", "Calibrates the geocoder in a folder, which is written anew."
    )
    parser.add_argument("run", help="folder of a run")
    parser.add_argument("--items", default="", help="file of items that it was trained on")
    asked = arguments.read(parser, argv)
    from experiments.geocoding import config, evaluation, ordinary, task
    from fl_jax.geocoding import store, train

    data = task.load(dataclasses.replace(config.SMALL, items=asked.items))
    found = _load(asked.run, data.gazetteer, calibrated=False)
    found.told = train.tell(data.corpus, found.known, *ordinary.load())
    evaluation.calibrate(found, data.dev)
    store.save_knowledge(found, _folder(asked.run))
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
    if asked.out:  # before the work
        pathlib.Path(asked.out).mkdir(parents=True, exist_ok=True)
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
    parts += [report.check_table(details["checks"]), report.mention_table(details["mentions"])]
    text = "\n\n".join([*parts, report.example_table(details["examples"])])
    if asked.out:
        out = pathlib.Path(asked.out)
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


def mentions(argv: list[str]) -> int:
    """Prints the places that a text names, as JSON, one a line."""
    parser = arguments.command("geocoding", "mentions", "The places that a text names.")
    parser.add_argument("run", help="folder of a finished run")
    parser.add_argument("text", help="a paragraph; - reads standard input")
    parser.add_argument("--least", type=float, help="probability of being a place")
    asked = arguments.read(parser, argv)
    from fl_jax.geocoding import mention
    from fl_jax.geocoding.service import formats

    text = sys.stdin.read() if asked.text == "-" else asked.text
    found = _load(asked.run)
    least = mention.LEAST if asked.least is None else asked.least
    for one in mention.mentions(found, text, least=least):
        print(json.dumps(formats.mention(found.gazetteer, text, one), ensure_ascii=False))
    return 0


def batch(argv: list[str]) -> int:
    """Geocodes a file: CSV, JSONL or Parquet in, the same with columns added out."""
    parser = arguments.command(
        "geocoding",
        "batch",
        "Adds lat, lon, confidence, place, geonameid, country, cell and error (of what cannot be"
        " geocoded); geocoded_lat and so on where the file has a column of that name. Interrupted,"
        " the same command goes on where it stopped.",
    )
    parser.add_argument("run", help="folder of a finished run")
    parser.add_argument("source", help=".csv, .tsv, .jsonl or .parquet")
    parser.add_argument("target", help="a new file of the same kind, or another one of these")
    parser.add_argument("--column", default="text", help="that holds the texts")
    parser.add_argument("--residual", type=float, default=0.05)
    asked = arguments.read(parser, argv)
    from experiments.geocoding import batching, tables

    target = pathlib.Path(asked.target)
    batching.check(target)
    table = tables.read(pathlib.Path(asked.source), asked.column)
    found = _load(asked.run)
    values = [row[asked.column] for row in table.rows]
    with batching.kept(target, [values, asked.residual, batching.marks(_folder(asked.run))]) as by:
        added = batching.geocode(found, values, asked.residual, by)
        taken = {name for row in table.rows for name in row}
        tables.write(target, table, [tables.beside(taken, row) for row in added])
    count = sum(row["lat"] is not None for row in added)
    print(f"{len(added)} texts, {count} of them found: {target}")
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
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    asked = arguments.read(parser, argv)
    errors.one_of("preset", asked.preset, ("smoke", "small"))
    out = pathlib.Path(asked.out)
    import time

    from experiments import result
    from experiments.geocoding import federated as comparing

    start, used = time.perf_counter(), time.process_time()
    chosen = {"smoke": comparing.SMOKE_FEDERATED, "small": comparing.SMALL_FEDERATED}
    say = lambda said: print(said, flush=True)
    found = comparing.compare(chosen[asked.preset], out, say, resume=asked.resume)
    about = {
        "command": "python -m experiments geocoding federated",
        "preset": asked.preset,
        # what the calls before a resumed one took is not known
        "seconds": None if asked.resume else round(time.perf_counter() - start, 1),
        "CPU seconds": None if asked.resume else round(time.process_time() - used, 1),
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


def _load(run, places=None, *, calibrated=True):
    from fl_jax.geocoding import store

    return store.load(_folder(run), places, calibrated=calibrated)


def _folder(run) -> pathlib.Path:
    """Where the geocoder of a run is."""
    folder = pathlib.Path(run)
    return folder / "geocoder" if (folder / "geocoder").is_dir() else folder
