"""Files of text and of JSON lines, as they are or compressed, read without trust."""

import bz2
import contextlib
import gzip
import json
import pathlib
import zlib
from collections.abc import Iterator

from fl_jax.core import errors


@contextlib.contextmanager
def opened(path, mode: str = "rt", **how) -> Iterator:
    """The open file, unpacked on the way if it is called .gz or .bz2; text is UTF-8.

    Args:
        path: of the file.
        mode: `rt` or `rb`.
        **how: further arguments of `open` for text.

    Raises:
        DataError: a file that is not there, ends too early, or is no text or archive; also where
            that shows only while it is read.
    """
    path = pathlib.Path(path)
    opener = {".bz2": bz2.open, ".gz": gzip.open}.get(path.suffix, open)
    if mode == "rt":
        how = {"encoding": "utf-8", **how}
    try:
        with opener(path, mode, **how) as file:
            yield file
    except UnicodeDecodeError as error:
        raise errors.DataError(f"{path} is not UTF-8 ({error}); convert it first.") from None
    except EOFError:
        raise errors.DataError(f"{path} is cut short; fetch the rest of it.") from None
    except (OSError, zlib.error) as error:
        raise errors.DataError(f"{path} cannot be read ({error}).") from None


def text(path) -> str:
    """All of a file of text.

    Raises:
        DataError: as `opened`.
    """
    with opened(path) as file:
        return file.read()


def records(path, *fields: str, texts: bool = False) -> Iterator[dict]:
    """The objects of a file of JSON lines; blank lines are passed over.

    Args:
        path: of the file.
        *fields: what every object must have.
        texts: these must all be strings.

    Raises:
        DataError: as `opened`; a line that is no object with these fields, by its number.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "some.jsonl"
        ...     _ = path.write_text('{"a": 1}\\n\\n{"a": 2, "b": 3}\\n')
        ...     list(records(path, "a"))
        [{'a': 1}, {'a': 2, 'b': 3}]
    """
    with opened(path) as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                record = None
            there = isinstance(record, dict) and record.keys() >= set(fields)
            if not there or (texts and not all(isinstance(record[f], str) for f in fields)):
                raise errors.DataError(
                    f"{pathlib.Path(path).name}, line {number}, should be a JSON object with"
                    f" {'the texts ' * texts}{', '.join(fields)}, but it is {line[:60]!r}."
                )
            yield record
