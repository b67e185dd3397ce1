"""Files that are whole, or as they were."""

import contextlib
import os
import pathlib
from collections.abc import Iterator


@contextlib.contextmanager
def replace(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """A path to write to in place of another one, which it takes when all is written.

    What fails or is killed on the way leaves the file at `path` as it was, or leaves none; what
    was written is on the disk before it is to be seen there.

    Args:
        path: where the file will be; beside it stands `<path>.tmp` meanwhile.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     target = pathlib.Path(folder) / "a.txt"
        ...     with replace(target) as fresh:
        ...         _ = fresh.write_text("all of it")
        ...     target.read_text(), len(list(target.parent.iterdir()))
        ('all of it', 1)
    """
    path = pathlib.Path(path)
    fresh = path.with_name(path.name + ".tmp")
    try:
        yield fresh
        with fresh.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)
