"""The safetensors format, read without trust and written as a stream.

A file is 8 bytes of little-endian header length, a JSON header that gives each tensor's dtype,
shape and byte range, and the bytes. Reading maps the file into memory: nothing is loaded before
it is used, and a tensor is a view. A header is checked in full before anything is believed: a
hostile file raises `DataError` and costs little.
"""

import json
import math
import pathlib
import struct
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import ml_dtypes
import numpy as np

from fl_jax.core import atomic, errors

HEADER_LIMIT = 10_000_000  # bytes; BLOOM-176B has 845 tensors and 100 kB of header
TENSOR_LIMIT = 20_000
RANK_LIMIT = 16
DTYPES: dict[str, np.dtype] = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "I64": np.dtype(np.int64),
    "I32": np.dtype(np.int32),
    "I16": np.dtype(np.int16),
    "I8": np.dtype(np.int8),
    "U8": np.dtype(np.uint8),
    "BOOL": np.dtype(np.bool_),
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}


class Entry(NamedTuple):
    """One tensor of a file."""

    dtype: np.dtype
    shape: tuple[int, ...]
    start: int  # first byte in the file
    end: int  # byte after the last


class File:
    """A safetensors file, mapped into memory.

    Args:
        path: the file.

    Raises:
        DataError: the file is cut short, or its header is not what the format demands.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "x.safetensors"
        ...     write(path, {"w": np.arange(3, dtype=np.int32)})
        ...     File(path).tensor("w").tolist()
        [0, 1, 2]
    """

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.entries, self.metadata = _header(self.path)
        self._bytes = np.memmap(self.path, np.uint8, "r")

    def tensor(self, name: str) -> np.ndarray:
        """The tensor of this name, read-only, as a view of the file.

        Raises:
            DataError: there is none.
        """
        if name not in self.entries:
            raise errors.DataError(f"{self.path.name} has no tensor {name!r}.")
        entry = self.entries[name]
        return self._bytes[entry.start : entry.end].view(entry.dtype).reshape(entry.shape)


class Stream(NamedTuple):
    """A tensor that is made when its turn comes to be written."""

    dtype: np.dtype
    shape: tuple[int, ...]
    make: Callable[[], np.ndarray]


def write(
    path,
    tensors: Mapping[str, np.ndarray | Stream],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Writes a file, one tensor at a time, under a temporary name that is then renamed.

    Args:
        path: where; an existing file is replaced only once the new one is whole.
        tensors: by name, in the order to write them.
        metadata: strings, stored under `__metadata__`.

    Raises:
        DataError: a dtype that the format has no name for, or a tensor that is not made as
            promised.
    """
    path = pathlib.Path(path)
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    position = 0
    for name, tensor in tensors.items():
        dtype = np.dtype(tensor.dtype)
        if dtype not in NAMES:
            raise errors.DataError(
                f"tensor {name!r} is {dtype}, which safetensors cannot hold; convert it to one of"
                f" {', '.join(str(d) for d in NAMES)}."
            )
        end = position + math.prod(tensor.shape) * dtype.itemsize
        header[name] = {
            "dtype": NAMES[dtype],
            "shape": list(tensor.shape),
            "data_offsets": [position, end],
        }
        position = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # readers in other languages want the data aligned
    with atomic.replace(path) as fresh, fresh.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, tensor in tensors.items():
            array = tensor.make() if isinstance(tensor, Stream) else tensor
            if array.shape != tuple(tensor.shape) or array.dtype != tensor.dtype:
                raise errors.DataError(
                    f"tensor {name!r} should be {tensor.dtype}{list(tensor.shape)}, but what was"
                    f" made is {array.dtype}{list(array.shape)}."
                )
            file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


def _header(path: pathlib.Path) -> tuple[dict[str, Entry], dict[str, str]]:
    """The checked header of a file."""

    def refuse(why: str):
        return errors.DataError(
            f"{path.name} is not a sound safetensors file: {why}; fetch or export it again."
        )

    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        if len(start) < 8:
            raise refuse(f"it has {size} bytes and the length of its header alone takes 8")
        (length,) = struct.unpack("<Q", start)
        if length > HEADER_LIMIT:
            raise refuse(f"its header claims {length} bytes, more than the limit {HEADER_LIMIT}")
        if 8 + length > size:
            raise refuse(f"its header claims {length} bytes and the file has {size}")
        text = file.read(length)
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError) as error:
        raise refuse(f"its header is no JSON ({str(error)[:80]})") from None
    if not isinstance(header, dict):
        raise refuse("its header is no JSON object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise refuse("__metadata__ is no object of strings")
    if len(header) > TENSOR_LIMIT:
        raise refuse(f"it lists {len(header)} tensors, more than the limit {TENSOR_LIMIT}")
    entries = {}
    for name, value in header.items():
        entries[name] = _entry(name, value, 8 + length, refuse)
    expected = 8 + length
    for name, entry in sorted(entries.items(), key=lambda item: item[1][2:]):
        if entry.start != expected:
            raise refuse(
                f"tensor {name[:80]!r} begins at byte {entry.start} and not at {expected}, where"
                " the one before it ends"
            )
        expected = entry.end
    if expected != size:
        raise refuse(f"its tensors end at byte {expected} and the file has {size}")
    return entries, metadata


def _no_duplicates(pairs):
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a name stands there twice")
    return fields


def _entry(name, value, data, refuse) -> Entry:
    name = name[:80]
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        raise refuse(f"tensor {name!r} is not described by dtype, shape and data_offsets")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise refuse(f"tensor {name!r} has the dtype {str(dtype)[:20]!r}")
    whole = lambda xs: isinstance(xs, list) and all(type(x) is int and 0 <= x < 2**63 for x in xs)
    if not whole(shape) or len(shape) > RANK_LIMIT:
        raise refuse(f"the shape of tensor {name!r} is no list of sizes")
    if not whole(offsets) or len(offsets) != 2:
        raise refuse(f"data_offsets of tensor {name!r} are no two positions")
    size = math.prod(shape) * DTYPES[dtype].itemsize
    if offsets[1] - offsets[0] != size:
        raise refuse(
            f"tensor {name!r} of {dtype} {shape} takes {size} bytes, but its range has"
            f" {offsets[1] - offsets[0]}"
        )
    return Entry(DTYPES[dtype], tuple(shape), data + offsets[0], data + offsets[1])


def files(folder) -> Iterable[tuple[str, pathlib.Path]]:
    """(tensor name, file) of a folder: `model.safetensors`, or what its index lists.

    Raises:
        DataError: there is no checkpoint, or the index is not one, or it names a file that is
            not in the folder.
    """
    folder = pathlib.Path(folder)
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.is_file():
        return [(name, single) for name in _header(single)[0]]
    if not index.is_file():
        raise errors.DataError(
            f"{folder} has neither model.safetensors nor model.safetensors.index.json; pickled"
            " .bin checkpoints are not read: save them as safetensors first."
        )
    if index.stat().st_size > HEADER_LIMIT:
        raise errors.DataError(f"{index.name} is larger than {HEADER_LIMIT} bytes.")
    try:
        listed = json.loads(index.read_bytes())["weight_map"]
        pairs = [(str(name), str(file)) for name, file in listed.items()]
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        raise errors.DataError(f"{index.name} has no weight_map of tensor to file.") from None
    for _, file in pairs:
        if pathlib.PurePath(file).name != file or not (folder / file).is_file():
            raise errors.DataError(f"{index.name} names {file!r}, which is no file beside it.")
    return [(name, folder / file) for name, file in pairs]
