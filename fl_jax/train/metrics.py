"""What a run reports: rows of a JSON-lines file, and how far it is.

Both belong to process 0; on the others the same calls do nothing. Rows hold what the run
computed and no wall-clock times, so that the file of a run that was killed and resumed equals,
byte for byte, the file of one that was not.
"""

import json
import math
import os
import pathlib
import sys
import time
from collections.abc import Mapping

import jax
import numpy as np

from fl_jax.core import errors


class Metrics:
    """An append-only file of strict JSON, one object a line, on the disk row by row.

    Numbers may be Python's, NumPy's or JAX's. float32 and float16 are written with the
    digits that tell their values apart (0.1, not 0.10000000149011612). NaN and
    the infinities, which JSON has not, become null.

    Args:
        path: the file, usually `metrics.jsonl`; made if it is not there, else continued behind its
            last whole row: what a kill cut off is dropped.

    Example:
        >>> import os, tempfile
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     path = os.path.join(directory, "metrics.jsonl")
        ...     with Metrics(path) as metrics:
        ...         metrics.write({"step": 1, "loss": np.float32(0.1)})
        ...         resume_here = metrics.offset()
        ...         metrics.write({"step": 2, "loss": float("nan")})
        ...     read(path)
        [{'step': 1, 'loss': 0.1}, {'step': 2, 'loss': None}]
    """

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self._file = None
        if jax.process_index() == 0:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("ab", buffering=0)
            self._file.truncate(_whole(self.path))

    def write(self, row: Mapping) -> None:
        """Appends a row; it survives the death of the process from here on."""
        if self._file is not None:
            self._file.write(json.dumps(plain(row), allow_nan=False).encode() + b"\n")

    def offset(self) -> int:
        """Bytes so far, which survive the death of the machine from here on."""
        if self._file is None:
            return 0
        os.fsync(self._file.fileno())
        return self._file.seek(0, os.SEEK_END)

    def truncate(self, offset: int) -> None:
        """Cuts the file back to an earlier `offset`.

        Raises:
            DataError: the file is shorter than that.
        """
        if self._file is None:
            return
        size = self.offset()
        if size < offset:
            raise errors.DataError(
                f"{self.path} has {size} bytes and the checkpoint was saved when it had "
                f"{offset}; put the file back, or start without --resume."
            )
        self._file.truncate(offset)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> "Metrics":
        return self

    def __exit__(self, *error) -> None:
        self.close()


def _whole(path: pathlib.Path) -> int:
    """Bytes of a file up to the end of its last whole row."""
    at = path.stat().st_size
    with path.open("rb") as file:
        while at > 0:  # from the end: a kill leaves less than a row behind the last one
            start = max(0, at - 2**16)
            file.seek(start)
            found = file.read(at - start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            at = start
    return 0


def read(path) -> list[dict]:
    """The rows of a file that `Metrics` wrote; a last row that a kill cut off is left out."""
    whole, _, _ = pathlib.Path(path).read_bytes().rpartition(b"\n")
    return [json.loads(line) for line in whole.splitlines()]


def plain(value):
    """Values as JSON has them: arrays to lists, numbers to Python's; NaN and the infinities, which
    it has not, to None."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, jax.Array | np.ndarray):
        value = np.asarray(value)
        return [plain(v) for v in value] if value.ndim else plain(value[()])
    if isinstance(value, np.float32 | np.float16):
        value = float(str(value))
    elif isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


class Progress:
    """How far the run is and when it will be done: a bar on a terminal, else a line at times.

    Args:
        total: the step at which the run is done.
        what: the name of a step, as in `round`.
        stream: where to; standard error unless told.
        every: seconds between two plain lines.
        clock: seconds, as `time.monotonic`; tests bring their own.

    Example:
        >>> seconds = iter([0.0, 30.0])
        >>> clock = lambda: next(seconds)
        >>> with Progress(100, what="round", stream=sys.stdout, clock=clock) as progress:
        ...     progress.update(0)
        ...     progress.update(60, {"round": 60, "loss": 0.25})
        round 60/100  60 %  20 s left  loss 0.25
    """

    def __init__(self, total: int, *, what="step", stream=None, every=10.0, clock=time.monotonic):
        self.total, self.what, self.every = total, what, every
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._start = None
        self._bar = None
        self._silent = jax.process_index() != 0

    def update(self, done: int, row: Mapping | None = None) -> None:
        """Tells that step `done` is behind us; the first call sets the clock.

        Args:
            done: steps so far, those before a resume included.
            row: values to show; of a whole row, the scalars.
        """
        if self._silent:
            return
        now = self._clock()
        if self._start is None:
            self._start = self._told = (now, done)
            return
        text = "  ".join(self._values(row or {}))
        if self._bar is not None:
            self._bar.update(self._task, completed=done, values=text)
        elif now - self._told[0] >= self.every or done >= self.total > self._told[1]:
            self._told = (now, done)
            line = f"{self.what} {done}/{self.total}  {100 * done // max(self.total, 1)} %"
            parts = [line, f"{_duration(self._left(now, done))} left", text]
            print("  ".join(part for part in parts if part), file=self._stream, flush=True)

    def _left(self, now: float, done: int) -> float:
        started, before = self._start
        return (now - started) / max(done - before, 1) * (self.total - done)

    def _values(self, row: Mapping):
        for name, value in plain(row).items():
            if name != self.what and isinstance(value, int | float):
                yield f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"

    def __enter__(self) -> "Progress":
        if not self._silent and self._stream.isatty():
            from rich import console, progress  # only a terminal needs it

            self._bar = progress.Progress(
                progress.TextColumn("{task.description}"),
                progress.BarColumn(),
                progress.MofNCompleteColumn(),
                progress.TimeRemainingColumn(),
                progress.TextColumn("{task.fields[values]}"),
                console=console.Console(file=self._stream),
            )
            self._task = self._bar.add_task(self.what, total=self.total, values="")
            self._bar.start()
        return self

    def __exit__(self, *error) -> None:
        if self._bar is not None:
            self._bar.stop()


def _duration(seconds: float) -> str:
    """As people say it: `50 s`, `12 min`, `3 h 20 min`."""
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{round(seconds)} s"
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
