"""Cells as labels: the paper's strings, and one symbol a level.

The paper writes a cell as its face and children without a separator, `20302303`, and lets a
tokenizer of words cut that where it likes. Here a label has one symbol for each level, out of
eleven: the faces 0 to 5, the children 0 to 3 as 6 to 9, and 10, which ends it. The end is a
symbol of its own because a tree of cells is cut at different depths: `20` is no `203`.
"""

from collections.abc import Sequence

import numpy as np

from fl_jax.core import errors
from fl_jax.core.types import Int
from fl_jax.geocoding import cells, s2

FACES, CHILDREN = 6, 4
END = FACES + CHILDREN
SYMBOLS = END + 1
FILL = -1  # after the end


def encode(labels: Sequence[str]) -> Int[np.ndarray, "labels symbols"]:
    """The symbols of the paper's strings, each with its end, filled up with -1.

    Args:
        labels: such as `20302303` or `2/0302303`; a NUL at the end, which old files have, and
            white space do not count.

    Raises:
        DataError: a string that is no path of a cell.

    Example:
        >>> encode(["203", "4"]).tolist()
        [[2, 6, 9, 10], [4, 10, -1, -1]]
    """
    found = [s2.digits(np.int64(key), level) for key, level in map(s2.parse, labels)]
    out = np.full((len(found), max(map(len, found), default=0) + 1), FILL, np.int32)
    for row, digits in zip(out, found, strict=True):
        row[: len(digits)] = digits
        row[1 : len(digits)] += FACES
        row[len(digits)] = END
    return out


def decode(symbols: Int[np.ndarray, "labels symbols"]) -> list[str]:
    """The paper's strings of symbols; what stands after an end does not count.

    Raises:
        DataError: a row that is no label: no face first, a face later, or no end.

    Example:
        >>> decode(np.array([[2, 6, 9, 10], [4, 10, -1, -1]]))
        ['203', '4']
    """
    out = []
    for number, row in enumerate(np.asarray(symbols)):
        ends = np.flatnonzero(row == END)
        size = int(ends[0]) if len(ends) else 0
        sound = size > 0 and 0 <= row[0] < FACES
        if not (sound and ((row[1:size] >= FACES) & (row[1:size] < END)).all()):
            raise errors.DataError(
                f"row {number} is no label: a face from 0 to 5, then children from 6 to 9, then"
                f" the end, {END}."
            )
        out.append("".join(str(int(s) % FACES if n else int(s)) for n, s in enumerate(row[:size])))
    return out


def node(partition: cells.Partition, label: str) -> int:
    """The node of a partition that the paper's string names.

    Raises:
        DataError: no path of a cell, or of none that the partition has.
    """
    found = nearest(partition, label)
    if partition.label(found) != s2.text(*s2.parse(label)):
        raise errors.DataError(
            f"the cells have no {label[:40]!r}; the deepest one on its way is"
            f" {partition.label(found)!r}."
        )
    return found


def nearest(partition: cells.Partition, label: str) -> int:
    """The deepest node on the way to a label, which may be of a finer or another partition.

    Raises:
        DataError: no path of a cell.
    """
    key, level = s2.parse(label)
    found = 0
    for digit in s2.digits(np.int64(key), level):
        below = _child(partition, found, int(digit))
        if below < 0:
            break
        found = below
    return found


def _child(partition, above: int, digit: int) -> int:
    """The child of a node at a digit, -1 where the partition has none."""
    wanted = digit if above == 0 else partition.key[above] * CHILDREN + digit
    children = partition.children[above]
    there = children[children >= 0]
    hit = there[partition.key[there] == wanted]
    return int(hit[0]) if len(hit) else -1
