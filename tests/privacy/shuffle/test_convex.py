"""Chords above, means below, and both close to the sum itself."""

import math

import numpy as np
import pytest

from privacy.shuffle import convex


@pytest.mark.parametrize("n, p", [(1, 0.3), (40, 0.1), (40, 0.9)])
@pytest.mark.parametrize("blocks", [1, 3, 12])
def test_a_convex_function_lies_between(n, p, blocks):
    f = lambda k: np.exp(-0.4 * k) + np.maximum(k - 0.7 * n, 0)
    exact = sum(math.comb(n, k) * p**k * (1 - p) ** (n - k) * f(k) for k in range(n + 1))
    edges = np.unique(np.round(np.linspace(0, n, blocks + 1)))[None]
    rows = np.array([float(n)])
    centre, mass = convex.means(rows, p, edges)
    weights = convex.chords(rows, p, edges)
    assert mass.sum() == pytest.approx(1, rel=1e-12) == weights.sum()
    assert (centre * mass).sum() == pytest.approx(n * p, rel=1e-12)
    low, high = float((mass * f(centre)).sum()), float((weights * f(edges)).sum())
    assert low <= exact * (1 + 1e-12) and exact <= high * (1 + 1e-12)
    if blocks == 12 and n == 40:
        assert high <= low * 1.6
