"""Shuffled pairs by plain enumeration: the slow obvious twin of everything here."""

import itertools
import math

import numpy as np


def pair(eps0: float, n: int, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """(P, Q) of the clone pair over (count of ones, count of zeros), by clones, signs and label."""
    e0 = math.exp(eps0)
    p, q = {}, {}
    for c in range(n):
        outer = math.comb(n - 1, c) * rate**c * (1 - rate) ** (n - 1 - c)
        for a in range(c + 1):
            inner = outer * math.comb(c, a) * 0.5**c
            for d, weight in ((1, e0 / (e0 + 1)), (0, 1 / (e0 + 1))):
                for law, bit in ((p, d), (q, 1 - d)):
                    key = (a + bit, c - a + 1 - bit)
                    law[key] = law.get(key, 0.0) + inner * weight
    keys = sorted(set(p) | set(q))
    return np.array([p.get(k, 0.0) for k in keys]), np.array([q.get(k, 0.0) for k in keys])


def delta(p: np.ndarray, q: np.ndarray, eps: float) -> float:
    """Hockey-stick divergence."""
    return math.fsum(np.maximum(p - math.exp(eps) * q, 0))


def histogram(matrix: np.ndarray, data: list[int]) -> dict[tuple[int, ...], float]:
    """Law of the histogram of reports when user i holds data[i]: what the server sees."""
    law = {(0,) * matrix.shape[1]: 1.0}
    for x in data:
        new = {}
        for counts, mass in law.items():
            for y, probability in enumerate(matrix[x]):
                if probability > 0:
                    key = (*counts[:y], counts[y] + 1, *counts[y + 1 :])
                    new[key] = new.get(key, 0.0) + mass * probability
        law = new
    return law


def shuffled_delta(matrix: np.ndarray, first: list[int], second: list[int], eps: float) -> float:
    """delta between the histograms of two data sets."""
    p, q = histogram(matrix, first), histogram(matrix, second)
    keys = set(p) | set(q)
    return math.fsum(max(p.get(k, 0.0) - math.exp(eps) * q.get(k, 0.0), 0) for k in keys)


def worst_delta(matrix: np.ndarray, n: int, eps: float) -> float:
    """The largest delta over all victims' inputs and all bystanders."""
    symbols = range(matrix.shape[0])
    return max(
        shuffled_delta(matrix, [a, *others], [b, *others], eps)
        for a, b in itertools.permutations(symbols, 2)
        for others in itertools.combinations_with_replacement(symbols, n - 1)
    )


def blanket_delta(low: np.ndarray, gamma: float, r0, r1, n: int, eps: float) -> float:
    """The blanket bound by enumeration: m blanket slots, one of them the victim's.

    low: (outputs,) the blanket's law; r0, r1: (outputs,) the victim's two laws.
    """
    total = 0.0
    outputs = len(low)
    score = (np.asarray(r0) - math.exp(eps) * np.asarray(r1)) / np.asarray(low)
    for m in range(1, n + 1):
        weight = math.comb(n - 1, m - 1) * gamma ** (m - 1) * (1 - gamma) ** (n - m)
        inner = 0.0
        for counts in _compositions(m, outputs):
            mass = math.factorial(m)
            for c, w in zip(counts, low, strict=True):
                mass *= w**c / math.factorial(c)
            inner += mass * max(float(np.dot(counts, score)) / m, 0.0)
        total += weight * inner
    return total


def _compositions(total, parts):
    if parts == 1:
        yield (total,)
        return
    for first in range(total + 1):
        for rest in _compositions(total - first, parts - 1):
            yield (first, *rest)
