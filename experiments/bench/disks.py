"""`python -m experiments bench disks`: neighbours and chemistry beside SciPy and scikit-learn.

Neighbours: 950,000 rows of three features, k = 20, queries of disks of 2,200 cells, uniform and on
surfaces as disks are, in batches of 100 disks; the trees of all three are made before and timed
apart; wall time on all cores, medians of interleaved calls. Chemistry: cells of the reference
network (RATE22 S2, where the data folder is there) or of the hand-typed one, against SciPy's
BDF with the same rates, the same analytic Jacobian and the same tolerance; one thread each, CPU
seconds, so that other work on the machine counts little. What both sides computed is compared
first. diffrax is not part of this benchmark yet.
"""

import json
import os
import time

import jax
import jax.numpy as jnp
import numpy as np

from algorithmic import neighbors
from algorithmic.disks import bdf, chemistry, kinetics, population, rates
from algorithmic.disks import constants as c
from experiments.bench import measure
from fl_jax.data import sources

ROWS, CELLS, DISKS, K = 950_000, 2_200, 100, 20
CHECKED, REPEATS = 20, 5
SOLVED = 12  # cells of the chemistry


def main() -> None:
    """Prints the tables."""
    print(json.dumps(measure.surroundings()), flush=True)
    for kind in ("uniform", "disk-like"):
        nearest(kind)
    solver()


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


def cpu(call):
    """(result, CPU seconds of this process)."""
    start = time.process_time()
    return jax.block_until_ready(call()), time.process_time() - start


def solver(rtol: float = 1e-6, atol: float = 1e-18) -> None:
    """CPU seconds a cell of ours and of SciPy's BDF."""
    from scipy.integrate import solve_ivp

    ready = population.setting(population.Population(), sources.folder("astrochem"))
    net, rng = ready.network, np.random.default_rng(0)
    x0 = population.start(net)
    cells = [
        rates.conditions(
            10 ** rng.uniform(5, 11),
            10 ** rng.uniform(1, 2.3),
            10 ** rng.uniform(-1, 1.3),
            chi=10 ** rng.uniform(0, 3),
            grains=5e-22,
        )
        for _ in range(SOLVED)
    ]
    options = bdf.Options(rtol=rtol, atol=atol)
    run = lambda: chemistry.integrate(
        net, x0, rates.stack(cells), [1e6], options=options, lanes=1, threads=1
    )
    run()
    found, ours = cpu(run)
    settings, theirs, worst = rates.Settings(), 0.0, 0.0
    with jax.enable_x64(True):
        compiled = kinetics.compile(net)
        coefficients = jax.jit(rates.make(net, settings))
        rhs = jax.jit(lambda k, ice, x: compiled.rhs(k, ice, x[None])[0])
        jacobian = jax.jit(lambda k, ice, x: compiled.jacobian(k, ice, x[None])[0])
        for i, cell in enumerate(cells):
            k = coefficients(cell)[None]
            ice = jnp.reshape(jnp.asarray(rates.active_layers(cell, settings)), (1,))
            f = lambda t, x, k=k, ice=ice: np.asarray(rhs(k, ice, x))
            j = lambda t, x, k=k, ice=ice: np.asarray(jacobian(k, ice, x))
            f(0, x0), j(0, x0)
            solved, used = cpu(
                lambda f=f, j=j: solve_ivp(f, (0, 1e6 * c.YEAR), x0, "BDF", jac=j, rtol=rtol,
                                           atol=atol, first_step=1.0)
            )  # fmt: skip
            theirs += used
            end = solved.y[:, -1]
            big = end > 1e-12
            worst = max(worst, float(np.abs(found.x[i, 0, big] / end[big] - 1).max()))
    print(
        f"chemistry, {len(net.species)} species, rtol {rtol}: ours {ours / SOLVED:.3f} s a cell,"
        f" SciPy BDF {theirs / SOLVED:.3f}, ratio {theirs / ours:.1f}; largest difference above"
        f" 1e-12 {worst:.1e}; {found.converged.sum()} of {SOLVED} converged",
        flush=True,
    )
