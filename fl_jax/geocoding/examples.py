"""Texts as arrays: tokens, evidence and, for training, where they are."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from fl_jax.data.tokenizer import Tokenizer
from fl_jax.geocoding import cells, evidence, s2, sphere

NEAR_KM = 25.0  # a candidate so near to the truth is right


class Examples(NamedTuple):
    """Texts, as many as there are rows in every array."""

    tokens: np.ndarray  # (texts, T) int32, 0 fills
    length: np.ndarray  # (texts,) int32
    evidence: evidence.Arrays
    leaf: np.ndarray  # (texts,) int32; 0 where not known
    near: np.ndarray  # (texts, CANDIDATES) bool
    held_out: np.ndarray  # (texts,) bool: the phrases were learned from this text
    weight: np.ndarray  # (texts,) float32


def encode(
    known: evidence.Knowledge,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    *,
    lat: np.ndarray | None = None,
    lon: np.ndarray | None = None,
    held_out: bool = False,
    length: int = 32,
    weights: np.ndarray | None = None,
    names: Sequence[tuple[int, int]] | None = None,
) -> Examples:
    """The arrays of these texts; what a text has beyond `length` tokens is cut off.

    Args:
        known: what texts are looked up in.
        tokenizer: of the model.
        texts: any.
        lat, lon: where they are, for training and evaluation.
        held_out: they are among the texts that the phrases were learned from.
        length: tokens of a text.
        weights: (places,) as for `evidence.look_up`.
        names: the one name of each text whose bearers are looked at, likewise.
    """
    count = len(texts)
    tokens, sizes = np.zeros((count, length), np.int32), np.zeros(count, np.int32)
    for row, text in enumerate(texts):
        ids = tokenizer.encode(text)[:length]
        tokens[row, : len(ids)] = ids
        sizes[row] = len(ids)
    asked = [None] * count if names is None else names
    rows = [
        evidence.look_up(known, text, held_out=held_out, weights=weights, name=name)
        for text, name in zip(texts, asked, strict=True)
    ]
    found = evidence.arrays(rows, known)
    flags = np.full(count, held_out)
    leaf = np.zeros(count, np.int32)
    near = np.zeros((count, evidence.CANDIDATES), bool)
    if lat is not None:
        leaf = cells.leaf(known.partition, lat, lon)
        truth = s2.xyz(lat, lon)
        if held_out:
            found = evidence.without_own(found, known.phrases, truth, flags)
        points = unit(evidence.candidates(found.points))
        away = sphere.chord_km(points, truth[:, None])
        near = (away < NEAR_KM) & evidence.candidates(found.there)
    small = found._replace(features=found.features.astype(np.float16))
    return Examples(tokens, sizes, small, leaf, near, flags, np.ones(count, np.float32))


def unit(points: np.ndarray) -> np.ndarray:
    """Vectors (..., 3) at length 1; those that are 0 stay."""
    return points / np.maximum(np.linalg.norm(points, axis=-1, keepdims=True), 1e-9)


def take(part: Examples, rows: np.ndarray) -> Examples:
    """Some rows."""
    found = {n: getattr(part, n)[rows] for n in part._fields if n != "evidence"}
    return Examples(evidence=evidence.Arrays(*(a[rows] for a in part.evidence)), **found)


def join(parts: Sequence[Examples]) -> Examples:
    """The parts one after another."""
    stack = lambda *arrays: np.concatenate(arrays)
    fields = []
    for name in Examples._fields:
        values = [getattr(part, name) for part in parts]
        if name == "evidence":
            fields.append(evidence.Arrays(*(stack(*a) for a in zip(*values, strict=True))))
        else:
            fields.append(stack(*values))
    return Examples(*fields)


def batch(examples: Examples, rows: np.ndarray, *, fill: int | None = None) -> dict:
    """These rows on the device, as `network` reads them.

    Args:
        examples: to take from.
        rows: indices.
        fill: rows of the batch; those that are missing are empty and have weight 0.
    """
    missing = 0 if fill is None else fill - len(rows)

    def take(array, dtype):
        own = array[rows].astype(dtype)
        if missing:
            own = np.concatenate([own, np.zeros((missing, *own.shape[1:]), own.dtype)])
        return jnp.asarray(own)

    found = examples.evidence
    size = examples.length[rows]
    mask = np.arange(examples.tokens.shape[1])[None] < size[:, None]
    if missing:
        mask = np.concatenate([mask, np.zeros((missing, mask.shape[1]), bool)])
    mask[:, 0] = True  # a row that sees nothing would be of no number
    return {
        "tokens": take(examples.tokens, np.int32),
        "mask": jnp.asarray(mask),
        "dense": take(found.dense, np.int32),
        "phrase": take(found.phrase, np.int32),
        "features": take(found.features, np.float32),
        "points": take(found.points, np.float32),
        "there": take(found.there, bool),
        "leaf": take(examples.leaf, np.int32),
        "near": take(examples.near, bool),
        "held_out": take(examples.held_out, bool),
        "weight": take(examples.weight, np.float32),
    }
