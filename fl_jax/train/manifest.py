"""A manifest makes a folder count: the SHA-256 of every file, sealed by its own.

It is written last, under a temporary name, forced to the disk and renamed into place. A folder
with a manifest was therefore written to its end; a folder without one was not, and a folder
that differs from its manifest by a single bit is found out when it is read.
"""

import hashlib
import json
import os
import pathlib

NAME = "manifest.json"
SCHEMA = 1


class Damaged(Exception):
    """The folder is not what its manifest says; the message says where."""


def write(folder: pathlib.Path, body: dict) -> None:
    """Seals every file now under `folder` together with `body`.

    Args:
        folder: a folder that nothing writes to any more.
        body: what else to record, as JSON; the keys `schema`, `files`, `sha256` are taken.
    """
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            name = path.relative_to(folder).as_posix()
            files[name] = {"bytes": path.stat().st_size, "sha256": _digest(path)}
    unfinished = folder / f"{NAME}.tmp"
    with unfinished.open("wb") as file:
        file.write(_seal({**body, "schema": SCHEMA, "files": files}))
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(folder / NAME)
    _sync(folder)


def read(folder: pathlib.Path) -> dict:
    """The body of the manifest, its own seal checked; see `verify` for the files.

    Raises:
        Damaged: the manifest is missing, changed, or of another schema.
    """
    try:
        raw = (folder / NAME).read_bytes()
        body = json.loads(raw)
        del body["sha256"]
        whole = _seal(body) == raw
    except OSError as error:
        raise Damaged(f"{NAME} cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError, RecursionError):
        whole = False
    if not whole:
        raise Damaged(f"{NAME} was changed after it was written")
    if body["schema"] != SCHEMA:
        raise Damaged(f"{NAME} follows schema {body['schema']}, this version reads schema {SCHEMA}")
    return body


def verify(folder: pathlib.Path, body: dict) -> None:
    """Compares every file with the manifest; reads them all.

    Raises:
        Damaged: a file is missing, has another length, or other bytes.
    """
    for name, expected in body["files"].items():
        path = folder / name
        try:
            size = path.stat().st_size
            if size != expected["bytes"]:
                raise Damaged(f"{name} has {size} bytes instead of {expected['bytes']}")
            if _digest(path) != expected["sha256"]:
                raise Damaged(f"{name} has other bytes than were written")
        except OSError as error:
            raise Damaged(f"{name} cannot be read ({error.strerror})") from error


def _seal(body: dict) -> bytes:
    """The text of a manifest; its first key is the SHA-256 of all the others."""
    seal = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    return json.dumps({"sha256": seal, **dict(sorted(body.items()))}, indent=1).encode()


def _digest(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(folder: pathlib.Path) -> None:
    """Forces a rename to the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
