"""Which tokens come when: a pure function of (seed, epoch, index), with O(1) seek.

Nothing here has a position to save: to resume, ask for the next index. Every host computes the
same global order and takes its own rows of it, so the stream is the same for any host count.
"""

import functools
import hashlib
import json
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from fl_jax.core import errors

_ROUNDS = 6  # of the Feistel network


def permute(index, size: int, *key: int | str) -> np.ndarray:
    """Where the keyed permutation of range(size) takes these indices; nothing is stored.

    A Feistel network over the next even power of two, walked until it is back in range.

    Args:
        index: integers in 0..size - 1, any shape.
        size: of the set.
        key: any integers and strings, as a seed and an epoch.

    Returns:
        int64, the shape of index.

    Raises:
        ConfigError: an index that is not in the set: it would be walked for ever.

    Example:
        >>> sorted(permute(np.arange(5), 5, 0, "train").tolist())
        [0, 1, 2, 3, 4]
    """
    errors.positive("size of a permutation", size)
    half = max(1, (max(size - 1, 1).bit_length() + 1) // 2)
    mask = np.uint64((1 << half) - 1)
    seed = hashlib.blake2b(repr(key).encode(), digest_size=8 * _ROUNDS).digest()
    keys = np.frombuffer(seed, "<u8")
    asked = np.asarray(index)
    if asked.size and not 0 <= asked.min() <= asked.max() < size:
        raise errors.ConfigError(
            f"a permutation of {size} takes indices from 0 to {size - 1}, got {asked.min()} to"
            f" {asked.max()}."
        )
    x = asked.astype(np.uint64)
    out = np.array(x, np.uint64, ndmin=1)
    todo = np.ones(out.shape, bool)
    while todo.any():
        left, right = out[todo] >> np.uint64(half), out[todo] & mask
        for k in keys:
            left, right = right, left ^ (_mix(right + k) & mask)
        out[todo] = (left << np.uint64(half)) | right
        todo &= out >= size
    return out.reshape(x.shape).astype(np.int64)


def _mix(x: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser: every bit of x moves every bit of the result."""
    with np.errstate(over="ignore"):
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


class TokenCache:
    """Documents of tokens in one folder, mapped into memory: tokens.npy, offsets.npy, meta.json.

    Args:
        folder: as `write_cache` left it.

    Raises:
        DataError: no cache, or one that was cut short.
    """

    def __init__(self, folder):
        folder = pathlib.Path(folder)
        try:
            self.meta = json.loads((folder / "meta.json").read_text())
            self.tokens = np.load(folder / "tokens.npy", mmap_mode="r", allow_pickle=False)
            self.offsets = np.load(folder / "offsets.npy", mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise errors.DataError(f"{folder} holds no whole token cache: {error}.") from None
        if self.offsets.ndim != 1 or not len(self.offsets) or self.offsets[-1] != len(self.tokens):
            raise errors.DataError(f"{folder}: offsets.npy does not belong to tokens.npy.")

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> np.ndarray:
        """Document `index` as int32 tokens."""
        if not 0 <= index < len(self):
            raise IndexError(f"document {index} of {len(self)}")
        return np.asarray(self.tokens[self.offsets[index] : self.offsets[index + 1]], np.int32)


def write_cache(
    folder, documents: Iterable[Sequence[int]], *, vocab: int, meta: Mapping | None = None
) -> TokenCache:
    """Writes a token cache as a stream; uint16 where the vocabulary fits, else uint32.

    meta.json is written last: a folder without it is no cache.

    Raises:
        DataError: a token outside the vocabulary, or no documents with tokens.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "meta.json").unlink(missing_ok=True)
    dtype = np.uint16 if vocab <= 2**16 else np.uint32
    raw, offsets = folder / "tokens.raw", [0]
    try:
        with raw.open("wb") as file:
            for document in documents:
                array = np.asarray(document, np.int64)
                if not array.size:
                    continue
                low, high = int(array.min()), int(array.max())
                if low < 0 or high >= vocab:
                    raise errors.DataError(
                        f"document {len(offsets) - 1} has the token {low if low < 0 else high},"
                        f" outside a vocabulary of {vocab}."
                    )
                file.write(array.astype(dtype).tobytes())
                offsets.append(offsets[-1] + array.size)
        if len(offsets) == 1:
            raise errors.DataError(f"there are no documents to write to {folder}.")
        np.save(folder / "tokens.npy", np.memmap(raw, dtype, "r"))
    finally:
        raw.unlink(missing_ok=True)
    np.save(folder / "offsets.npy", np.array(offsets, np.int64))
    (folder / "meta.json").write_text(json.dumps({"vocab": vocab, **(meta or {})}))
    return TokenCache(folder)


class Stream:
    """Rows cut from shuffled documents, as in BLOOM's pretraining; one epoch at a time.

    In every epoch the documents are permuted, joined and cut (`packing.cut`), and the rows are
    permuted again, so that neighbours in a batch are not neighbours in a document.

    Args:
        documents: sequences of tokens, each with its `</s>`; a `TokenCache`, or a list.
        length: inputs of a row; rows have one token more.
        seed: of the order.
        name: told apart from other streams of the same seed.

    Raises:
        DataError: too few tokens for one row.
        ConfigError: a length that is not above 0.
    """

    def __init__(self, documents, length: int, *, seed: int, name: str = ""):
        errors.positive("length of a row", length)
        self.documents, self.length, self.seed, self.name = documents, length, seed, name
        lengths = getattr(documents, "offsets", None)
        if lengths is not None:
            self._lengths = np.diff(lengths)
        else:
            self._lengths = np.array([len(d) for d in documents], np.int64)
        total = int(self._lengths.sum())
        self.rows = (total - 1) // length if total else 0
        if self.rows < 1:
            raise errors.DataError(
                f"stream {name!r} has {total} tokens, too few for one row of {length + 1}."
            )
        self._epoch = None

    def row(self, index: int) -> np.ndarray:
        """Row `index` of the endless stream, (length + 1,) int32."""
        epoch, place = divmod(int(index), self.rows)
        order, ends = self._layout(epoch)
        place = int(permute(place, self.rows, self.seed, self.name, "rows", epoch))
        start, stop = place * self.length, (place + 1) * self.length + 1
        first = int(np.searchsorted(ends, start, "right"))
        last = int(np.searchsorted(ends, stop - 1, "right"))
        joined = np.concatenate([self.documents[int(d)] for d in order[first : last + 1]])
        base = int(ends[first - 1]) if first else 0
        return np.asarray(joined[start - base : stop - base], np.int32)

    def _layout(self, epoch: int):
        if self._epoch is None or self._epoch[0] != epoch:
            count = len(self._lengths)
            key = (self.seed, self.name, "documents", epoch)
            order = permute(np.arange(count), count, *key)
            self._epoch = epoch, order, np.cumsum(self._lengths[order])
        return self._epoch[1:]


class Mixture(NamedTuple):
    """Several sources in fixed proportions; which comes when is a function of the index.

    In every block of the stream each source has its quota of places (largest remainders), at
    places that the seed decides, so the proportions hold over every block, not on average.
    """

    names: tuple[str, ...]
    quotas: np.ndarray  # (sources,) places in a block
    seed: int

    @classmethod
    def make(cls, weights: Mapping[str, float], *, seed: int, block: int = 1000) -> "Mixture":
        """The mixture of these weights, which need not add up to 1.

        Raises:
            ConfigError: weights below 0 or all 0; a source whose weight gives it no place.
        """
        values = np.array(list(weights.values()), np.float64)
        if not (len(values) and values.min() >= 0 and 0 < values.sum() < np.inf):
            raise errors.ConfigError(
                f"a mixture needs finite weights from 0, and one above 0, got {values.tolist()}."
            )
        exact = values / values.sum() * block
        quotas = np.floor(exact).astype(int)
        rest = np.argsort(-(exact - quotas), kind="stable")[: block - quotas.sum()]
        quotas[rest] += 1
        lost = [n for n, w, q in zip(weights, values, quotas, strict=True) if w > 0 and not q]
        if lost:
            raise errors.ConfigError(
                f"a block of {block} has no place for {', '.join(lost)}; use a larger block."
            )
        return cls(tuple(weights), quotas, seed)

    def __call__(self, index: int) -> tuple[str, int]:
        """(source, how many of its items came before) at this place of the stream."""
        block, place = divmod(int(index), int(self.quotas.sum()))
        source, before = _block(tuple(self.quotas.tolist()), self.seed, block)
        own = int(source[place])
        return self.names[own], block * int(self.quotas[own]) + int(before[place])


@functools.lru_cache(maxsize=4)  # neighbours ask for the same, and a large block takes long
def _block(quotas: tuple[int, ...], seed: int, block: int) -> tuple[np.ndarray, np.ndarray]:
    """(source of every place of a block, how many of its items stand before in the block)."""
    size = sum(quotas)
    slots = permute(np.arange(size), size, seed, "mixture", block)
    source = np.repeat(np.arange(len(quotas)), quotas)[slots]
    before = np.empty(size, np.int64)
    first = np.cumsum(quotas) - quotas
    before[np.argsort(source, kind="stable")] = np.arange(size) - np.repeat(first, quotas)
    return source, before


def host_rows(batch: int, host: int, hosts: int) -> range:
    """Which rows of the global batch are this host's.

    Raises:
        ConfigError: hosts that do not divide the batch, or a host that is none of them.
    """
    if not 0 <= host < hosts:
        raise errors.ConfigError(f"host {host} is none of {hosts}; they count from 0.")
    if batch % hosts:
        raise errors.ConfigError(f"{hosts} hosts do not divide a batch of {batch} rows.")
    share = batch // hosts
    return range(host * share, (host + 1) * share)
