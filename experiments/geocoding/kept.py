"""Rows of a comparison that are kept as they are found."""

import json
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

from fl_jax.core import errors


class Kept(NamedTuple):
    """Rows that are known, in a file: what was measured before a stop is not measured again."""

    path: pathlib.Path
    rows: dict[str, dict[str, Any]]

    @classmethod
    def open(cls, path: pathlib.Path, about: Any, resume: bool) -> "Kept":
        """The file's rows; a new file where nothing is resumed.

        Args:
            path: the file, in a folder of a run.
            about: all that the rows depend on, as JSON has it.
            resume: whether rows that are there count.

        Raises:
            ConfigError: they are of something else.
        """
        own = json.dumps(about)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not (resume and path.is_file()):
            path.write_text(own + "\n")
            return cls(path, {})
        first, *lines = path.read_text().splitlines(keepends=True)
        if first != own + "\n":
            raise errors.ConfigError(
                f"{path.parent} was begun with other settings or data; resume with the same, or"
                " give another --out."
            )
        whole = [line for line in lines if line.endswith("\n")]  # a kill may come within one
        path.write_text(first + "".join(whole))
        found = [json.loads(line) for line in whole]
        return cls(path, {row["name"]: row for row in found})

    def row(self, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The row of this name, made if it is not there."""
        if name not in self.rows:
            self.rows[name] = make()
            with self.path.open("a") as file:
                file.write(json.dumps(self.rows[name]) + "\n")
        return self.rows[name]
