"""Exact neighbours beside SciPy's cKDTree and scikit-learn's KDTree.

950,000 rows of three features, k = 20, queries of disks of 2,200 cells, uniform and on surfaces as
disks are, in batches of 100 disks; the trees of all three are made before and timed apart; wall
time on all cores, medians of interleaved calls. What all computed is compared first.
`python -m experiments bench disks_neighbors` runs this part alone.
"""

import os
import time

import jax
import numpy as np

from algorithmic import neighbors

ROWS, CELLS, DISKS, K = 950_000, 2_200, 100, 20
CHECKED, REPEATS = 20, 5


def main() -> None:
    """Prints both tables."""
    for kind in ("uniform", "disk-like"):
        nearest(kind)


def rows(kind: str, count: int, rng) -> np.ndarray:
    """(count, 3) float32 rows: uniform, or surfaces of 2,200 cells."""
    if kind == "uniform":
        return rng.random((count, 3)).astype(np.float32)
    out = []
    for _ in range(-(-count // CELLS)):
        a, u = rng.random(4), rng.random((CELLS, 2))
        out.append(
            np.stack(
                [
                    0.5 * a[0] + 0.5 * u[:, 0] - 0.3 * u[:, 1] ** 2,
                    0.4 * a[1] + 0.6 * u[:, 1] * (1 - 0.5 * u[:, 0]),
                    0.5 * a[2] + 0.3 * u[:, 0] + 0.2 * np.sin(3 * u[:, 1] + a[3]),
                ],
                axis=1,
            )
        )
    return np.concatenate(out)[:count].astype(np.float32)


def nearest(kind: str) -> None:
    """Wall seconds of the same queries on the same cores, each of the trees built before."""
    from scipy.spatial import cKDTree
    from sklearn.neighbors import NearestNeighbors

    rng = np.random.default_rng(0)
    points, queries = rows(kind, ROWS, rng), rows(kind, CELLS * DISKS, rng)
    index, built = wall(lambda: neighbors.build(points))
    tree, scipy_built = wall(lambda: cKDTree(points))
    model, sklearn_built = wall(
        lambda: NearestNeighbors(algorithm="kd_tree", n_jobs=-1).fit(points)
    )
    calls = {
        "ours": lambda: neighbors.knn(queries, points, K, index=index),
        "cKDTree": lambda: tree.query(queries, K, workers=-1),
        "scikit-learn": lambda: model.kneighbors(queries, K),
    }
    near, at = calls["ours"]()  # compiles
    for i in rng.choice(len(queries), CHECKED, replace=False):
        d2 = [(queries[i, c] - points[:, c]) ** 2 for c in range(3)]
        d2 = (d2[0] + d2[1]) + d2[2]
        order = np.argsort(d2, kind="stable")[:K]
        assert (at[i] == order).all() and (near[i] == np.sqrt(d2[order])).all(), i
    theirs = calls["cKDTree"]()[1]
    assert (np.sort(at, 1) == np.sort(theirs, 1)).mean() > 0.999  # equal but for rounding
    spent = {name: [] for name in calls}
    for _ in range(REPEATS):
        for name, call in calls.items():
            spent[name].append(wall(call)[1])
    per = {n: float(np.median(s)) * 1e6 / len(queries) for n, s in spent.items()}
    print(
        f"neighbours, {kind}, us a query on {os.cpu_count()} cores: ours {per['ours']:.2f}, cKDTree"
        f" {per['cKDTree']:.2f} (ratio {per['cKDTree'] / per['ours']:.2f}), scikit-learn"
        f" {per['scikit-learn']:.2f} (ratio {per['scikit-learn'] / per['ours']:.2f}); s to build"
        f" {built:.1f}, {scipy_built:.1f}, {sklearn_built:.1f}; {CHECKED} queries equal to the"
        " plain loop bit for bit",
        flush=True,
    )


def wall(call):
    """(result, seconds)."""
    start = time.perf_counter()
    return jax.block_until_ready(call()), time.perf_counter() - start
