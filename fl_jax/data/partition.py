"""How a data set is split over participants: lists of example indices, one per participant."""

import numpy as np

from fl_jax.core import errors


def dirichlet(
    labels: np.ndarray,
    participants: int,
    *,
    alpha: float = 0.9,
    seed: int = 0,
    exact: bool = False,
) -> list[np.ndarray]:
    """Non-iid shares as in the code of Bagdasaryan et al. 2020.

    For every class, p ~ Dirichlet(alpha, ..., alpha) over the participants; participant i takes
    the next min(left, round(p_i * s)) examples of the shuffled class, where s is the size of
    class 0 for every class. Rounding leaves a few examples unused or the last participants
    short, as in the original; `exact=True` splits every class completely, at the cumulated
    shares of its own size.

    Args:
        labels: (n,) integer classes.
        participants: number of shares.
        alpha: concentration; smaller is less even. The paper has 0.9.
        seed: of the split.

    Returns:
        One sorted array of indices per participant; they are disjoint.

    Raises:
        ConfigError: alpha or participants not above 0.
    """
    errors.positive("alpha", alpha)
    errors.positive("participants", participants)
    rng = np.random.default_rng(seed)
    shares: list[list[int]] = [[] for _ in range(participants)]
    classes = [np.flatnonzero(labels == c) for c in np.unique(labels)]
    for members in classes:
        members = rng.permutation(members)
        p = rng.dirichlet(np.full(participants, alpha))
        if exact:
            ends = np.round(np.cumsum(p) * len(members)).astype(int)
        else:
            ends = np.minimum(np.cumsum(np.round(p * len(classes[0])).astype(int)), len(members))
        for share, start, end in zip(shares, [0, *ends[:-1]], ends, strict=True):
            share.extend(members[start:end])
    return [np.sort(np.array(share, np.int64)) for share in shares]


def iid(examples: int, participants: int, *, seed: int = 0) -> list[np.ndarray]:
    """Equal random shares; they differ by one example at most."""
    errors.positive("participants", participants)
    order = np.random.default_rng(seed).permutation(examples)
    return [np.sort(share) for share in np.array_split(order, participants)]
