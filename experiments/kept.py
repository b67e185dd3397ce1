"""What a command has found so far, in one file, so that after a stop it need not be found again."""

import base64
import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fl_jax.core import atomic, errors
from fl_jax.core.types import PyTree


class Kept:
    """Items by name, each on the disk before the next one is made; without a path, in memory.

    The file is JSON, an object a line, which is whole where it ends with a line feed. Its first
    line tells what the items are of: items of something else are refused, not mixed in. Numbers
    come back bit for bit.

    Example:
        >>> import tempfile
        >>> never = lambda: 1 / 0
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "kept.jsonl"
        ...     made = Kept(path, {"rounds": 2}).item("third", lambda: {"x": 1 / 3})
        ...     made == Kept(path, {"rounds": 2}, resume=True).item("third", never)
        True
    """

    def __init__(self, path: pathlib.Path | None = None, about: Any = None, *, resume=False):
        """Begins, or goes on.

        Args:
            path: the file; its folder is made.
            about: all that the items depend on, settings and data: plain values, and dataclasses
                of them.
            resume: go on with the file; otherwise there must be none.

        Raises:
            ConfigError: there is a file and should be none, or none where there should be one; or
                its items are of something else.
            DataError: it is no such file, or a line of it is broken.
        """
        self.path = path
        self._items: dict[str, Any] = {}
        if path is None:
            return
        told = json.dumps(about, default=_told).encode()
        first = json.dumps({"kept": hashlib.sha256(told).hexdigest()}).encode() + b"\n"
        self._size = len(first)  # bytes, up to the end of the last whole line
        if resume:
            self._read(first)
        elif path.exists():
            raise errors.ConfigError(
                f"{path} keeps what an earlier run found; add --resume to go on with it, or choose"
                " another --out."
            )
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic.replace(path) as fresh:  # one without a first line is someone else's
                fresh.write_bytes(first)

    def item(self, name: str, make: Callable[[], Any], like: PyTree = None) -> Any:
        """What make() gives, made if it is not there yet.

        Args:
            name: of the item.
            make: gives JSON values and arrays; tuples become lists, the keys of dicts strings.
            like: where it gives another pytree: one of the same structure, whatever its leaves.

        Returns:
            The same whether it was made or read; arrays are NumPy's.

        Raises:
            DataError: what is kept under the name does not have the structure of `like`.
        """
        if name not in self._items:
            made = make()
            value = made if like is None else jax.tree.leaves(made)
            line = json.dumps({"name": name, "value": value}, default=_coded).encode() + b"\n"
            self._append(line)
            self._items |= _decoded(line)
        value = self._items[name]
        if like is None:
            return value
        structure = jax.tree.structure(like)
        if not isinstance(value, list) or len(value) != structure.num_leaves:
            raise errors.DataError(
                f"{name!r} in {self.path} has another structure than this version gives it; remove"
                " the file."
            )
        return jax.tree.unflatten(structure, value)

    def _append(self, line: bytes) -> None:
        if self.path is None:
            return
        with self.path.open("r+b") as file:
            file.truncate(self._size)  # half a line, where a kill or a full disk came
            file.seek(self._size)
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        self._size += len(line)

    def _read(self, first: bytes) -> None:
        if not self.path.is_file():
            raise errors.ConfigError(f"there is no {self.path} to go on with; leave --resume out.")
        with self.path.open("rb") as file:
            head = file.readline(2 * len(first))
            if head != first:
                if len(head) == len(first) and head.startswith(b'{"kept": "'):
                    raise errors.ConfigError(
                        f"{self.path} keeps what was found with other settings or data; give"
                        " those, remove it, or write to another place."
                    )
                raise errors.DataError(f"{self.path} is something else; write to another place.")
            for number, line in enumerate(file, 2):
                if not line.endswith(b"\n"):
                    return
                try:
                    self._items |= _decoded(line)
                except (ValueError, TypeError, LookupError):
                    raise errors.DataError(
                        f"line {number} of {self.path} is broken; remove it and what follows, or"
                        " the whole file."
                    ) from None
                self._size += len(line)


def _told(value: Any) -> Any:
    """Of what an item depends on: what JSON does not have."""
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) else repr(value)


def _coded(value: Any) -> dict[str, Any]:
    """An array for JSON."""
    array = np.asarray(value)
    if array.dtype == object:
        raise TypeError(f"{type(value).__name__} cannot be kept; give arrays and JSON values")
    text = base64.b64encode(array.tobytes()).decode()
    return {"dtype": array.dtype.name, "shape": array.shape, "base64": text}


def _decoded(line: bytes) -> dict[str, Any]:
    """{name: value} of a line."""

    def hook(value):
        if value.keys() != {"dtype", "shape", "base64"}:
            return value
        flat = np.frombuffer(
            bytearray(base64.b64decode(value["base64"], validate=True)), jnp.dtype(value["dtype"])
        )
        return flat.reshape(value["shape"])

    item = json.loads(line, object_hook=hook)
    return {item["name"]: item["value"]}
