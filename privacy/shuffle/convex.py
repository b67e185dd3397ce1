"""Expectations of convex functions of a binomial count, from both sides, in few blocks.

In a block of whole numbers with probability P and conditional mean c (both exact), a convex f has
P f(c) <= E[f; block] <= P times its chord at c: Jensen, and Edmundson-Madansky. Both err with the
square of the block's width. Everything is vectorised over rows, one law per row.
"""

import numpy as np

from privacy.accounting import binomial
from privacy.accounting.binomial import Binomial


def means(
    n: np.ndarray, p: float, edges: np.ndarray, q: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(conditional mean, probability) of Bin(n, p) in the blocks that start at the edges.

    Args:
        n: (rows,) whole numbers.
        p: probability, one for all.
        edges: (rows, blocks + 1) whole numbers, not falling; the first block begins at 0 and the
            last one ends with n, whatever the outer edges say.
        q: 1 - p, where the caller knows it to more digits than 1 - p would have.
    """
    n = np.asarray(n, float)[..., None]
    law = Binomial(n, p, 1 - p if q is None else q)
    cuts = np.concatenate([np.zeros(n.shape), edges[..., 1:-1], n + 1], axis=-1)
    mass = binomial.masses(cuts, law)
    moment = law.mean * binomial.masses(np.maximum(cuts - 1, 0), law._replace(n=n - 1))
    centre = np.clip(moment / np.maximum(mass, 1e-300), cuts[..., :-1], cuts[..., 1:])
    return np.where(mass > 1e-290, centre, cuts[..., 1:]), mass


def chords(n: np.ndarray, p: float, edges: np.ndarray, q: float | None = None) -> np.ndarray:
    """(rows, blocks + 1) weights at the edges: a law larger in convex order than Bin(n, p).

    Probability in a block is moved to its two edges so that the mean stays. Arguments of `means`.
    """
    centre, mass = means(n, p, edges, q)
    left, right = edges[..., :-1], edges[..., 1:]
    width = right - left
    share = np.where(width > 0, np.clip((centre - left) / np.maximum(width, 1.0), 0, 1), 0.0)
    share = np.where(mass > 1e-290, share, 0.0)
    weights = np.zeros(edges.shape)
    weights[..., :-1] += mass * (1 - share)
    weights[..., 1:] += mass * share
    return weights
