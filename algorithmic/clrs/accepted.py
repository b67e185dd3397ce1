"""Scores that accept every right answer: each sample is compared with a right answer near to what
was said, or with the benchmark's own where that agrees more.

So no sample scores below the official figure, a right answer scores full, and where only one
answer is right the score is the official one. NumPy only.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from algorithmic.clrs import specs, valid

BLANK = 3  # the class of `b` in cells that lcs_length does not ask about


class Counts(NamedTuple):
    """What one output adds up to: for masks true and false positives and false negatives, for
    everything else right answers, 0 and wrong ones."""

    hit: np.ndarray | float
    false_positive: np.ndarray | float
    missed: np.ndarray | float


def share(name: str, probe: str, found: Counts) -> np.ndarray:
    """F1 of a mask, 1 where nothing was to be found and nothing was claimed; else right / all.

    Example:
        >>> float(share("activity_selector", "selected", Counts(6, 2, 4)))
        0.6666666666666666
    """
    hit, false_positive, missed = (np.asarray(v, float) for v in found)
    twice = 2 if specs.of(name)[probe].kind == specs.MASK else 1
    asked = twice * hit + false_positive + missed
    return np.where(asked > 0, twice * hit / np.maximum(asked, 1), 1.0)


def score(name: str, total: Mapping[str, Counts]) -> float:
    """The mean over outputs of F1 (masks) or accuracy, in [0, 1].

    Example:
        >>> score("activity_selector", {"selected": Counts(6, 2, 4)})
        0.6666666666666666
    """
    each = [float(share(name, probe, found)) for probe, found in total.items()]
    return sum(each) / len(each)


def compare(name: str, said: Mapping, truth: Mapping) -> dict[str, Counts]:
    """Counts of one sample's outputs against one answer.

    Args:
        name: the algorithm.
        said: by probe, masks (0/1), pointers, one-hots and classes as indices.
        truth: the same, masks -1 where nothing is asked.
    """
    out = {}
    for probe, right in truth.items():
        a, b = np.asarray(said[probe]), np.asarray(right)
        kind = specs.of(name)[probe].kind
        if kind == specs.MASK:
            asked, claimed, positive = b != -1, a == 1, b == 1
            out[probe] = Counts(
                float(np.sum(claimed & positive)),
                float(np.sum(claimed & ~positive & asked)),
                float(np.sum(~claimed & positive)),
            )
            continue
        asked = b != BLANK if kind == specs.CATEGORICAL else np.ones(b.shape, bool)
        hit = float(np.sum((a == b) & asked))
        out[probe] = Counts(hit, 0.0, float(np.sum(asked)) - hit)
    return out


def sample(name: str, inputs: Mapping, said: Mapping, official: Mapping) -> dict[str, Counts]:
    """Counts of one sample that accept every right answer.

    Args:
        name: any of the thirty; where one answer is right these are the official counts.
        inputs: probes as in `valid.nearest`.
        said: what the network answers, as in `compare`.
        official: what the benchmark's own code answers.

    Example:
        >>> square = np.array([[0, 1, 1, 0], [1, 0, 0, 1], [1, 0, 0, 1], [0, 1, 1, 0]])
        >>> said, official = {"pi": np.array([0, 0, 0, 2])}, {"pi": np.array([0, 0, 0, 1])}
        >>> sample("bfs", {"A": square, "s": 0}, said, official)["pi"].hit
        4.0
    """
    plain = compare(name, said, official)
    if name not in valid.NAMES or not any(c.false_positive + c.missed for c in plain.values()):
        return plain
    near = valid.nearest(name, inputs, said)
    found = compare(name, said, {probe: near[probe] for probe in plain})
    return max((plain, found), key=lambda counts: score(name, counts))


def total(name: str, inputs: Mapping, said: Mapping, official: Mapping, nodes) -> dict[str, Counts]:
    """`sample` added up over a batch, samples first; `nodes` (B,) says how many are real."""
    added: dict[str, Counts] = {}
    cut = lambda found, i: {k: _real(name, k, v[i], int(nodes[i])) for k, v in found.items()}
    for i in range(len(nodes)):
        one = sample(name, cut(inputs, i), cut(said, i), cut(official, i))
        for probe, found in one.items():
            old = added.get(probe, Counts(0.0, 0.0, 0.0))
            added[probe] = Counts(*(a + b for a, b in zip(old, found, strict=True)))
    return added


def _real(name, probe, value, n):
    p = specs.training_spec(name)[probe]
    axes = {specs.NODE: 1, specs.EDGE: 2, specs.GRAPH: 0}[p.location]
    axes = min(axes, np.ndim(value))  # a one-hot is an index
    return value[(slice(n),) * axes]
