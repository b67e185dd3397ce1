"""Many texts geocoded, with what is done kept beside the target until it is whole."""

import contextlib
import hashlib
import io
import json
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

from experiments.geocoding import tables
from fl_jax.core import errors
from fl_jax.geocoding.geocoder import LIMIT, Answer, Geocoder
from fl_jax.train import metrics

STEP = 64  # texts computed, and kept, together


def check(target: pathlib.Path) -> None:
    """Refuses a file that could not be written, before hours of work for it.

    Raises:
        ConfigError: it is there already, or of no kind that is known.
        DataError: its folder is not there.
    """
    if tables.kind(target) == ".parquet":
        tables.arrow()
    if not target.parent.is_dir():
        raise errors.DataError(f"{target.parent} is no folder; make it first.")
    if os.path.lexists(target):
        raise errors.ConfigError(f"{target} is there already; write to another file.")


def marks(folder: pathlib.Path) -> list[list]:
    """What tells the geocoder in a folder from another one, or from itself calibrated anew."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return [[p.name, p.stat().st_size, p.stat().st_mtime_ns] for p in files]


@contextlib.contextmanager
def kept(target: pathlib.Path, about: Any) -> Iterator[io.TextIOBase]:
    """A file beside the target that keeps answers, a JSON object a line: `geocode` goes on with it.

    It goes once the target is written.

    Args:
        target: the file that will be written.
        about: all that the answers depend on.

    Raises:
        DataError: it cannot be written, or keeps answers to something else.
    """
    path = target.with_name(target.name + ".part")
    own = hashlib.sha256(json.dumps(about, default=str).encode()).hexdigest()
    try:
        with path.open("a+", encoding="utf-8", newline="") as file:
            file.seek(0)
            first = file.readline()
            if not first.endswith("\n"):  # new, or stopped in its first line
                file.truncate(0)
                file.write(own + "\n")
                file.flush()
            elif first != own + "\n":
                raise errors.DataError(
                    f"{path} keeps answers to other texts, of another geocoder or for another"
                    " --residual; remove it, or write to another file."
                )
            yield file
    except OSError as error:
        raise errors.DataError(
            f"{target} cannot be written ({error.strerror or error}); what was geocoded so far is"
            f" kept, if anything was: the same command goes on with it."
        ) from error
    path.unlink()


def geocode(
    geocoder: Geocoder, values: Sequence[Any], residual: float, file: io.TextIOBase
) -> list[dict[str, Any]]:
    """The columns that are added for each value; what `file` has is not computed again.

    Args:
        geocoder: computes.
        values: texts; other ones have an error.
        residual: as for `Geocoder.geocode`.
        file: from `kept`, behind its first line.
    """
    done = []
    end = file.tell()
    while (line := file.readline()).endswith("\n"):
        done.append(json.loads(line))
        end = file.tell()
    file.seek(end)  # half a line, where a kill came
    file.truncate()
    with metrics.Progress(len(values), what="text") as progress:
        progress.update(len(done))
        while len(done) < len(values):
            pairs = [_text(v) for v in values[len(done) : len(done) + STEP]]
            answers = geocoder.geocode([text for text, _ in pairs], residual=residual)
            rows = [
                _columns(geocoder, answer) | {"error": why}
                for (_, why), answer in zip(pairs, answers, strict=True)
            ]
            file.writelines(json.dumps(row) + "\n" for row in rows)
            file.flush()
            done += rows
            progress.update(len(done))
    return done


def _columns(found: Geocoder, answer: Answer) -> dict[str, Any]:
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


def _text(value: Any) -> tuple[str, str | None]:
    """(what is geocoded, why that is nothing though a value is there) of a value of a file."""
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
