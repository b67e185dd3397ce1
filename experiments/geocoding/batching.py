"""Many texts geocoded, with what is done kept beside the target until it is whole."""

import contextlib
import functools
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

from experiments.geocoding import tables
from experiments.kept import Kept
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
def kept(target: pathlib.Path, about: Any) -> Iterator[Kept]:
    """A file beside the target that keeps answers: `geocode` goes on with it.

    It goes once the target is written.

    Args:
        target: the file that will be written.
        about: all that the answers depend on.

    Raises:
        DataError: it cannot be written.
        ConfigError: it keeps answers to something else.
    """
    path = target.with_name(target.name + ".part")
    try:
        yield Kept(path, [about, STEP], resume=path.exists())
    except OSError as error:
        raise errors.DataError(
            f"{target} cannot be written ({error.strerror or error}); what was geocoded so far is"
            f" kept, if anything was: the same command goes on with it."
        ) from error
    path.unlink()


def geocode(
    geocoder: Geocoder, values: Sequence[Any], residual: float, by: Kept
) -> list[dict[str, Any]]:
    """The columns that are added for each value; what is kept is not computed again.

    Args:
        geocoder: computes.
        values: texts; other ones have an error.
        residual: as for `Geocoder.geocode`.
        by: from `kept`.
    """
    done: list[dict[str, Any]] = []
    with metrics.Progress(len(values), what="text") as progress:

        def rows(at: int) -> list[dict[str, Any]]:
            progress.update(at)  # the clock starts behind what was kept
            pairs = [_text(v) for v in values[at : at + STEP]]
            answers = geocoder.geocode([text for text, _ in pairs], residual=residual)
            return [
                _columns(geocoder, answer) | {"error": why}
                for (_, why), answer in zip(pairs, answers, strict=True)
            ]

        for at in range(0, len(values), STEP):
            done += by.item(f"from {at}", functools.partial(rows, at))
        progress.update(len(values))
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
