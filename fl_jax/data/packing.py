"""Documents into rows of one length: cut from one long stream, or fitted whole with segments."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fl_jax.core import errors


class Packed(NamedTuple):
    """Rows of tokens with, for each token, its document and its target span."""

    tokens: np.ndarray  # (rows, length) int32; 0 where nothing stands
    segments: np.ndarray  # (rows, length) int32; from 1 in every row, 0 = padding
    spans: np.ndarray  # (rows, length) int32; from 1 in every row, 0 = no target
    members: list[list[int]]  # which examples each row holds, in order

    @property
    def filled(self) -> float:
        """Share of the places that hold a token."""
        return float(np.mean(self.segments > 0))


class Example(NamedTuple):
    """What is packed whole: a document, or inputs and target of a prompted task."""

    tokens: Sequence[int]
    target: int | None = None  # index of the first target token; None: all is one span


def cut(stream: np.ndarray, length: int) -> np.ndarray:
    """Rows of length + 1 tokens from one stream of documents, as Megatron cuts pretraining data.

    Each row begins with the last token of the one before, which is there only to predict from;
    what does not fill a row at the end is left out.

    Args:
        stream: (tokens,) documents one after another, each ending in its `</s>`.
        length: tokens of a row that are inputs.

    Raises:
        ConfigError: a length that is not above 0.

    Example:
        >>> cut(np.arange(8), 3).tolist()
        [[0, 1, 2, 3], [3, 4, 5, 6]]
    """
    errors.positive("length of a row", length)
    rows = max(0, (len(stream) - 1) // length)
    index = np.arange(rows)[:, None] * length + np.arange(length + 1)[None]
    return np.asarray(stream)[index]


def best_fit(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Which items go together into bins of a capacity: best-fit decreasing.

    The longest item goes first, each into the bin that it fills best; with real documents few
    places stay empty. Constant time an item: open bins are kept by what is left in them, and
    the fullest that still takes the item is found in the bits of one integer.

    Raises:
        DataError: an item that no bin takes.

    Example:
        >>> best_fit([3, 5, 2, 4], 7)
        [[1, 2], [3, 0]]
    """
    if len(lengths) and max(lengths) > capacity:
        raise errors.DataError(
            f"an item of {max(lengths)} does not fit in a row of {capacity}; cut or leave it out."
        )
    bins: list[list[int]] = []
    left: dict[int, list[int]] = {}
    spaces = 0  # bit r is set while a bin has r places left
    for item in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        size = lengths[item]
        fitting = spaces >> size
        if fitting:
            space = size + (fitting & -fitting).bit_length() - 1
            chosen = left[space].pop()
            if not left[space]:
                spaces &= ~(1 << space)
        else:
            space, chosen = capacity, len(bins)
            bins.append([])
        bins[chosen].append(item)
        rest = space - size
        if rest:
            left.setdefault(rest, []).append(chosen)
            spaces |= 1 << rest
    return bins


def next_fit(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """As BLOOMZ was packed: in the given order, a new row whenever the next does not fit.

    Raises:
        DataError: an item that no bin takes.
    """
    bins: list[list[int]] = []
    free = 0
    for item, size in enumerate(lengths):
        if size > capacity:
            raise errors.DataError(f"an item of {size} does not fit in a row of {capacity}.")
        if size > free:
            bins.append([])
            free = capacity
        bins[-1].append(item)
        free -= size
    return bins


def pack(examples: Sequence[Example], length: int, *, how: str = "best_fit") -> Packed:
    """Rows of `length` tokens, each with whole examples, their segments and target spans.

    Args:
        examples: none longer than `length`; empty ones take no place and are in no row.
        length: of a row; for training, one more than the inputs.
        how: `best_fit` or `next_fit`.

    Raises:
        DataError: an example that is too long, or a target outside its example.
        ConfigError: an unknown way.
    """
    errors.one_of("packing", how, ("best_fit", "next_fit"))
    kept = [i for i, example in enumerate(examples) if len(example.tokens)]
    lengths = [len(examples[i].tokens) for i in kept]
    bins = (best_fit if how == "best_fit" else next_fit)(lengths, length)
    out = Packed(*(np.zeros((len(bins), length), np.int32) for _ in range(3)), [])
    for row, members in enumerate(bins):
        place = 0
        for number, member in enumerate(members, 1):
            example = examples[kept[member]]
            end = place + len(example.tokens)
            start = example.target or 0
            if not 0 <= start <= len(example.tokens):
                raise errors.DataError(
                    f"example {kept[member]} has {len(example.tokens)} tokens, but its target"
                    f" begins at {start}."
                )
            out.tokens[row, place:end] = example.tokens
            out.segments[row, place:end] = number
            out.spans[row, place + start : end] = number
            place = end
        out.members.append([kept[member] for member in members])
    return out


def pieces_of(documents: Sequence[Sequence[int]], length: int) -> list[Example]:
    """Documents as examples that fit: longer ones in consecutive parts, empty ones left out.

    Raises:
        ConfigError: a length that is not above 0.
    """
    errors.positive("length of a row", length)
    return [
        Example(document[start : start + length])
        for document in documents
        for start in range(0, len(document), length)
    ]
