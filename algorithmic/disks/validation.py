"""Splits by disk, grouped cross-validation over k, and the errors that matter."""

from collections.abc import Sequence

import numpy as np

from algorithmic import neighbors
from algorithmic.disks import constants as c
from algorithmic.disks import quantile, table
from fl_jax.core import errors

CANDIDATES = np.unique(np.geomspace(1, 100, 50).astype(int))  # the notebook's 34 values of k


def folds(groups: np.ndarray, count: int) -> np.ndarray:
    """(rows,) the fold of each row; a group stays whole, and rows are spread evenly.

    The rule of scikit-learn's GroupKFold: groups from the largest on, each to the lightest fold.

    Raises:
        ConfigError: fewer than two folds, or fewer groups than folds.
    """
    if count < 2:
        raise errors.ConfigError(f"a split needs two folds at least, got {count}.")
    names, owner, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if len(names) < count:
        raise errors.ConfigError(
            f"{count} folds need at least as many disks, but {len(names)} came; take fewer folds."
        )
    load, place = np.zeros(count), np.empty(len(names), np.int64)
    for group in np.argsort(sizes, kind="stable")[::-1]:
        lightest = int(load.argmin())
        load[lightest] += sizes[group]
        place[group] = lightest
    return place[owner]


def split(rows: table.Table, count: int = 5) -> tuple[table.Table, table.Table]:
    """(training, test): the first of `count` folds over disks is the test."""
    fold = folds(rows.columns["disk"], count)
    return rows.select(fold != 0), rows.select(fold == 0)


def apart(training: table.Table, test: table.Table) -> None:
    """Refuses a split that leaks.

    Raises:
        DataError: a disk has rows on both sides.
    """
    both = np.intersect1d(training.columns["disk"], test.columns["disk"])
    if len(both):
        raise errors.DataError(
            f"the split leaks: {len(both)} disks have rows in training and test, among them"
            f" {int(both[0])}; split by disk."
        )


def cross_validate(
    rows: table.Table,
    *,
    features: Sequence[str],
    species: Sequence[str],
    candidates: Sequence[int] | np.ndarray = CANDIDATES,
    count: int = 10,
    target: str = "quantile",
) -> np.ndarray:
    """Mean squared error (folds, candidates) [dex^2] of uniform averages, averaged over species.

    One search of the largest k serves all candidates: the mean of the first k of sorted
    neighbours is a running sum.

    Raises:
        ConfigError: a candidate that is no whole number above 0 or more than the rows of a fold.
    """
    candidates = np.asarray(candidates)
    whole = candidates.ndim == 1 and np.issubdtype(candidates.dtype, np.integer)
    if not (len(candidates) and whole and candidates.min() > 0):
        raise errors.ConfigError(
            f"candidates for k must be whole numbers above 0, got {candidates.tolist()}."
        )
    x, y = rows.features(features), rows.targets(species)
    fold = folds(rows.columns["disk"], count)
    least = min(int((fold != f).sum()) for f in range(count))
    if max(candidates) > least:
        raise errors.ConfigError(
            f"k = {max(candidates)} needs as many training rows, but a fold has {least}; lower k."
        )
    out = np.empty((count, len(candidates)))
    for f in range(count):
        near, far = fold != f, fold == f
        qx, qy = quantile.fit(x[near]), quantile.fit(y[near])
        base = quantile.forward(qx, x[near])
        values = y[near] if target == "log" else quantile.forward(qy, y[near])
        _, at = neighbors.knn(quantile.forward(qx, x[far]), base, int(max(candidates)))
        total = np.zeros_like(y[far])
        done = 0
        for column in np.argsort(candidates, kind="stable"):
            k = int(candidates[column])
            total = total + values[at[:, done:k]].sum(axis=1)
            done = k
            mean = total / k
            found = mean if target == "log" else quantile.backward(qy, mean)
            out[f, column] = np.mean((found - y[far]) ** 2)
    return out


def scores(truth: np.ndarray, found: np.ndarray, density: np.ndarray) -> dict[str, np.ndarray]:
    """Errors per species [dex], each (species,).

    Args:
        truth: (rows, species) log10 abundances.
        found: the same, predicted.
        density: (rows,) of hydrogen nuclei: rows are weighted by it times the true abundance in
            "weighted", the error where the molecules are.

    Raises:
        DataError: no rows.
    """
    if not len(truth):
        raise errors.DataError("there are no rows to compare; give those of one disk at least.")
    miss = found - truth
    weight = 10**truth * density[:, None]
    return {
        "rmse": np.sqrt(np.mean(miss**2, axis=0)),
        "mae": np.mean(np.abs(miss), axis=0),
        "median": np.median(np.abs(miss), axis=0),
        "p90": np.quantile(np.abs(miss), 0.9, axis=0),
        "bias": np.mean(miss, axis=0),
        "weighted": np.sqrt(np.sum(weight * miss**2, axis=0) / np.sum(weight, axis=0)),
    }


def columns(rows: table.Table, log_abundance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertical column densities of every (disk, radius) [cm^-2].

    Args:
        rows: cells with disk, radius, height and density.
        log_abundance: (rows, species).

    Returns:
        (N (columns, species), the disk of each column); trapezoid from the midplane up, both
        sides. A column of one cell has no density and is left out.
    """
    key = np.stack([rows.columns["disk"], rows.columns["radius"]], axis=1)
    _, owner = np.unique(key, axis=0, return_inverse=True)
    found, disks = [], []
    for column in np.unique(owner):
        at = np.flatnonzero(owner == column)
        at = at[np.argsort(rows.columns["height"][at])]
        if len(at) < 2:
            continue
        z = rows.columns["height"][at] * c.AU
        n = 10 ** log_abundance[at] * rows.columns["numberdens"][at][:, None]
        found.append(2 * np.trapezoid(n, z, axis=0))
        disks.append(rows.columns["disk"][at[0]])
    return np.array(found).reshape(-1, log_abundance.shape[1]), np.array(disks, np.int64)
