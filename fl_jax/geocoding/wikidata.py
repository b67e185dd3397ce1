"""Wikidata items with coordinates: the rows of the data folder, and the full dump as a stream.

The published model was trained on about 8 million such items [Solaz & Shalumov 2023]; `dump`
rebuilds that set from `latest-all.json.bz2`, one item at a time, and checks the globe, which the
authors' reader does not: 1 item in 300 of theirs lies on the Moon or on Mars.
"""

import bz2
import gzip
import hashlib
import json
import os
import pathlib
import re
from collections.abc import Iterator
from typing import NamedTuple

from fl_jax.core import errors

EARTH = "http://www.wikidata.org/entity/Q2"
COLUMNS = ("qid", "label", "description", "lat", "lon")
OTHER_GLOBES = re.compile(
    r"\b(lunar|on (the )?(moon|mars|venus|mercury|titan|io|europa|ganymede|callisto|phobos|ceres|"
    r"vesta|triton|rhea|dione|tethys|iapetus|enceladus|mimas|miranda|ariel|oberon|titania|umbriel)"
    r"|martian|venusian|of (the moon|mars|venus|mercury))\b|^(impact )?crater$",
    re.IGNORECASE,
)


class Item(NamedTuple):
    """A Wikidata item: what it is called, what it is, where it is (WGS84 degrees)."""

    qid: str
    label: str
    description: str
    lat: float
    lon: float

    @property
    def text(self) -> str:
        """Label and description as one text."""
        return ", ".join(part for part in (self.label, self.description) if part)


def elsewhere(item: Item) -> bool:
    """Whether the description says that it is on another globe."""
    return OTHER_GLOBES.search(item.description) is not None


def share(qid: str) -> float:
    """A number from 0 to 1 that belongs to the item: splits by it do not depend on order."""
    return int(hashlib.sha256(f"{qid}/split".encode()).hexdigest()[:8], 16) / 2**32


def read(path) -> Iterator[Item]:
    """The items of a tab-separated file (gzip or not) with the columns of `COLUMNS`.

    Raises:
        DataError: no such file, or a line that is no item, by its number.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise errors.DataError(
            f"{path} is not there; give a file of items, such as"
            " `python -m experiments geocoding dump` writes."
        )
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8", newline="") as file:
        for number, line in enumerate(file, 1):
            cells = line.rstrip("\r\n").split("\t")
            if number == 1 and tuple(cells) == COLUMNS:
                continue
            try:
                qid, label, description, lat, lon = cells
                item = Item(qid, label, description, float(lat), float(lon))
            except ValueError:
                raise errors.DataError(
                    f"line {number} of {path.name} should be {', '.join(COLUMNS)} separated by"
                    f" tabs, but it is {line[:60]!r}."
                ) from None
            if not (-90 <= item.lat <= 90 and -180 <= item.lon <= 180):
                raise errors.DataError(
                    f"line {number} of {path.name}: {item.lat}, {item.lon} is no place on Earth."
                )
            yield item


def dump(path, *, language: str = "en", skip: int = 0) -> Iterator[tuple[int, Item]]:
    """Items with coordinates on Earth out of a Wikidata JSON dump (.bz2, .gz or plain).

    Nothing is held in memory but one line. Lines that cannot be read, items without a first
    P625 statement of a value, on another globe, or with neither label nor description, are
    passed over.

    Args:
        path: the dump: an array of entities, one a line.
        language: of label and description.
        skip: lines to pass over, for going on where an earlier reading stopped.

    Yields:
        (lines read so far, item).
    """
    path = pathlib.Path(path)
    opener = {".bz2": bz2.open, ".gz": gzip.open}.get(path.suffix, open)
    with opener(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if number <= skip or b'"P625"' not in line:
                continue
            item = entity(line, language)
            if item is not None:
                yield number, item


def entity(line: bytes, language: str = "en") -> Item | None:
    """The item of one line of a dump; None where there is none to have."""
    try:
        body = json.loads(line.strip().rstrip(b","))
        value = body["claims"]["P625"][0]["mainsnak"]["datavalue"]["value"]
        lat, lon = float(value["latitude"]), float(value["longitude"])
        globe = value.get("globe", EARTH)
        named = lambda kind: str(body.get(kind, {}).get(language, {}).get("value", ""))
        label, description = (" ".join(named(k).split()) for k in ("labels", "descriptions"))
        qid = str(body["id"])
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        return None
    on_earth = globe == EARTH and -90 <= lat <= 90 and -180 <= lon <= 180
    return Item(qid, label, description, lat, lon) if on_earth and (label or description) else None


def extract(source, target, *, language: str = "en", save_every: int = 50_000) -> int:
    """Writes the items of a dump as a file that `read` reads; goes on after an interruption.

    Beside the target stands `<target>.progress` while it is written: lines read and bytes
    written, put on the disk after every `save_every` items.

    Returns:
        The number of lines of the dump that were read, by this call and those before it.
    """
    target = pathlib.Path(target)
    mark = target.with_name(target.name + ".progress")
    lines, size = json.loads(mark.read_text()) if mark.is_file() else (0, 0)
    if not mark.is_file() and target.exists():
        raise errors.ConfigError(f"{target} is already there and whole; write to another file.")
    with target.open("r+b" if size else "wb") as file:
        file.truncate(size)
        file.seek(size)

        def save(number):
            file.flush()
            os.fsync(file.fileno())
            fresh = mark.with_name(mark.name + ".tmp")
            fresh.write_text(json.dumps([number, file.tell()]))
            os.replace(fresh, mark)

        number = lines
        for n, (number, item) in enumerate(dump(source, language=language, skip=lines), 1):
            row = "\t".join(str(x).replace("\t", " ") for x in item)
            file.write(row.encode() + b"\n")
            if n % save_every == 0:
                save(number)
        save(number)
    mark.unlink()
    return number
