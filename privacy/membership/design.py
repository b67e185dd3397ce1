"""Which model trains on which records."""

import numpy as np

from fl_jax.core import errors


def balanced(records: int, models: int, *, share: float = 0.5, seed: int = 0) -> np.ndarray:
    """(records, models) bool: every record in exactly round(models * share) of the models.

    Uniform draws are ranked record by record and the lowest ranks are IN [TF Privacy,
    mi_lira_2021]. How many records a model trains on is then random, near records * share.

    Example:
        >>> balanced(5, 4).sum(1).tolist()
        [2, 2, 2, 2, 2]
    """
    errors.whole("records", records, 1)
    errors.whole("models", models, 1)
    if not 0 < share < 1:
        raise errors.ConfigError(f"a share of the models lies between 0 and 1, got {share}.")
    inside = round(models * share)
    if not 0 < inside < models and models > 1:
        raise errors.ConfigError(
            f"a share of {share:g} of {models} models leaves every record in {inside} of them;"
            " attacks need some IN and some OUT: take more models or another share."
        )
    draws = np.random.default_rng(seed).random((records, models))
    return np.argsort(np.argsort(draws, axis=1), axis=1) < inside


def halves(records: int, models: int, *, seed: int = 0) -> np.ndarray:
    """(records, models) bool: random halves, every second model the complement of the first.

    Every record is IN exactly half of the models and every model trains on exactly half of the
    records, so that all of them have one size and one cost.

    Raises:
        ConfigError: an odd number of records or models.
    """
    if records % 2 or models % 2 or records < 2 or models < 2:
        raise errors.ConfigError(
            f"halves need even numbers of records and models, got {records} and {models}."
        )
    rng = np.random.default_rng(seed)
    first = np.zeros((records, models // 2), bool)
    for column in first.T:
        column[rng.permutation(records)[: records // 2]] = True
    return np.stack([first, ~first], -1).reshape(records, models)


def rows(member: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The members of each model as rows of one length, filled up with 0, and how many count.

    Args:
        member: (records, models) bool.

    Returns:
        ((models, most) int32, (models,) int32).
    """
    sizes = member.sum(0).astype(np.int32)
    out = np.zeros((member.shape[1], int(sizes.max(initial=1))), np.int32)
    for model, size in enumerate(sizes):
        out[model, :size] = np.flatnonzero(member[:, model])
    return out, sizes


def shadow_splits(
    pool: np.ndarray, shadows: int, size: int, *, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """(train, out), each (shadows, size): disjoint within a shadow, overlapping between them.

    Shadow i draws 2 * size records without replacement from the pool [Shokri et al. 2017, V-C].

    Args:
        pool: row numbers that may be used: the complement of the target's set.
        shadows: how many.
        size: training records of each, and as many it does not see.

    Raises:
        DataError: a pool of fewer than 2 * size records.
    """
    errors.whole("shadows", shadows, 1)
    errors.whole("size", size, 1)
    if len(pool) < 2 * size:
        raise errors.DataError(
            f"a shadow needs {size} training records and {size} others, but the pool has"
            f" {len(pool)}; take smaller shadows or a larger pool."
        )
    rng = np.random.default_rng(seed)
    drawn = np.stack([rng.permutation(pool)[: 2 * size] for _ in range(shadows)]).astype(np.int32)
    return drawn[:, :size], drawn[:, size:]


def check_disjoint(what: str, first: np.ndarray, other: str, second: np.ndarray) -> None:
    """Refuses row numbers that are in both sets.

    Raises:
        DataError: some are; the attack would be told what it is to guess.
    """
    both = np.intersect1d(first, second)
    if both.size:
        raise errors.DataError(
            f"{what} and {other} must not overlap, but share {both.size} records, the first of them"
            f" row {int(both[0])}; draw one from the complement of the other."
        )
