"""Wikidata items with coordinates: the rows of the data folder, and the full dump as a stream.

The published model was trained on about 8 million such items [Solaz & Shalumov 2023]; `dump`
rebuilds that set from `latest-all.json.bz2`, one item at a time, and checks the globe, which the
authors' reader does not: 1 item in 300 of theirs lies on the Moon or on Mars.
"""

import hashlib
import itertools
import json
import os
import pathlib
import re
from collections.abc import Iterator
from typing import NamedTuple

from fl_jax.core import atomic, errors
from fl_jax.data import files

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
        DataError: no such file, one that cannot be read, or a line that is no item, by its number.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise errors.DataError(
            f"{path} is not there; give a file of items, such as"
            " `python -m experiments geocoding dump` writes."
        )
    with files.opened(path, encoding="utf-8-sig", newline="") as file:
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
            if not item.text.strip():
                raise errors.DataError(
                    f"line {number} of {path.name} has neither a label nor a description."
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
    for number, line in _lines(path, skip):
        item = entity(line, language)
        if item is not None:
            yield number, item


def _lines(path, skip) -> Iterator[tuple[int, bytes]]:
    """(number, line) of the lines of a dump after the first ones."""
    path = pathlib.Path(path)
    if not path.is_file():
        raise errors.DataError(f"{path} is not there; give a Wikidata dump in JSON.")
    with files.opened(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if number == 1 and line[:1] not in (b"[", b"{"):
                raise errors.DataError(
                    f"{path} is no dump in JSON, which begins with [ or {{; unpack what is packed"
                    " otherwise than as .bz2 or .gz."
                )
            if number > skip:
                yield number, line


def entity(line: bytes, language: str = "en") -> Item | None:
    """The item of one line of a dump; None where there is none to have."""
    if b'"P625"' not in line:
        return None
    try:
        body = json.loads(line.strip().rstrip(b","))
        value = body["claims"]["P625"][0]["mainsnak"]["datavalue"]["value"]
        lat, lon = float(value["latitude"]), float(value["longitude"])
        globe = value.get("globe", EARTH)
        named = lambda kind: str(body.get(kind, {}).get(language, {}).get("value", ""))
        label, description = (" ".join(named(k).split()) for k in ("labels", "descriptions"))
        qid = "".join(str(body["id"]).split())
        f"{qid}{label}{description}".encode()  # halves of characters cannot be written
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        return None
    on_earth = globe == EARTH and -90 <= lat <= 90 and -180 <= lon <= 180
    return Item(qid, label, description, lat, lon) if on_earth and (label or description) else None


def extract(source, target, *, language: str = "en", save_every: int = 50_000) -> int:
    """Writes the items of a dump as a file that `read` reads; goes on after an interruption.

    Beside the target stands `<target>.progress` while it is not whole: lines read and bytes
    written, put on the disk after every `save_every` items and where reading stops.

    Returns:
        The number of lines of the dump that were read, by this call and those before it.

    Raises:
        ConfigError: the target is whole already, or its progress is of another dump or language.
        DataError: the dump cannot be read to its end; what was read is kept.
    """
    source, target = pathlib.Path(source), pathlib.Path(target)
    mark = target.with_name(target.name + ".progress")
    about = [source.name, language]
    if mark.is_file():
        number, size = _progress(mark, target, about)
    elif target.exists():
        raise errors.ConfigError(f"{target} is already there and whole; write to another file.")
    else:
        number = size = 0

    def save(file):
        file.flush()
        os.fsync(file.fileno())
        mark_down()

    def mark_down():
        with atomic.replace(mark) as fresh:
            fresh.write_text(json.dumps([number, size, *about]))

    lines = _lines(source, number)
    first = next(lines, None)  # a dump that cannot be read leaves nothing behind
    mark_down()  # before the target is there, which without a mark is whole
    with target.open("r+b" if target.exists() else "wb") as file:
        file.truncate(size)
        file.seek(size)
        found = 0
        try:
            for n, line in itertools.chain([] if first is None else [first], lines):
                item = entity(line, language)
                row = b"" if item is None else "\t".join(map(str, item)).encode() + b"\n"
                file.write(row)
                number, size = n, size + len(row)
                found += item is not None
                if item is not None and found % save_every == 0:
                    save(file)
        finally:
            save(file)
    mark.unlink()
    return number


def _progress(mark, target, about) -> tuple[int, int]:
    """(lines read, bytes written) of an extraction that goes on."""
    try:
        lines, size, *before = json.loads(mark.read_text())
        there = target.stat().st_size if target.exists() else 0
        sound = lines >= 0 and 0 <= size <= there
    except (ValueError, TypeError):
        sound = False
    if not sound:
        raise errors.ConfigError(
            f"{mark} does not fit {target.name}; remove both, and the dump is read anew."
        )
    if before != about:
        raise errors.ConfigError(
            f"{target} was begun with {' in '.join(map(str, before))}, not {' in '.join(about)};"
            " write to another file."
        )
    return lines, size
