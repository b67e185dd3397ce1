"""Random inputs for the thirty algorithms in NumPy alone, the same here and beside dm-clrs.

`RandomState` is frozen by NumPy, so a seed names the same inputs for ever. They are wider than
the benchmark's: sparse and dense graphs, directed ones where that is allowed, equal letters.
"""

import zlib

import numpy as np

GRAPHS = [
    "articulation_points",
    "bellman_ford",
    "bfs",
    "bridges",
    "dag_shortest_paths",
    "dfs",
    "dijkstra",
    "floyd_warshall",
    "mst_kruskal",
    "mst_prim",
    "strongly_connected_components",
    "topological_sort",
]
SOURCED = ("bellman_ford", "bfs", "dag_shortest_paths", "dijkstra", "mst_prim")


def inputs(name: str, n: int, seed: int) -> dict[str, np.ndarray]:
    """Input probes by name, with a source as an index and letters as numbers."""
    rng = np.random.RandomState(zlib.crc32(f"{name} {n} {seed}".encode()))
    if name in GRAPHS:
        return graph(name, n, rng, (0.1, 0.3, 0.5, 0.9)[seed % 4])
    if name in ("naive_string_matcher", "kmp_matcher"):
        needle = int(rng.randint(1, max(2, (n + 1) // 3)))
        letters = rng.randint(0, 2 + seed % 3, n)
        place = rng.randint(0, n - 2 * needle + 1)
        if seed % 4 != 3 or name == "naive_string_matcher":  # dm-clrs fails where naive finds none
            letters[place : place + needle] = letters[n - needle :]
        return {"string": (np.arange(n) >= n - needle) * 1.0, "key": letters}
    if name == "lcs_length":
        second = (n // 2, max(1, n // 3))[seed % 2]
        string = (np.arange(n) >= n - second) * 1.0
        return {"string": string, "key": rng.randint(0, 4, n)}
    if name == "optimal_bst":
        weights = rng.uniform(size=2 * n - 1)
        weights /= weights.sum()
        return {"p": np.append(weights[: n - 1], 0.0), "q": weights[n - 1 :]}
    if name == "activity_selector":
        a, b = rng.uniform(size=(2, n))
        return {"s": np.minimum(a, b), "f": np.maximum(a, b)}
    if name == "task_scheduling":
        return {"d": rng.randint(1, n + 1, n).astype(float), "w": rng.uniform(size=n)}
    if name == "binary_search":
        return {"key": np.sort(rng.uniform(size=n)), "target": rng.uniform(-0.1, 1.1)}
    if name == "segments_intersect":
        return {"x": rng.uniform(size=4), "y": rng.uniform(size=4)}
    if name in ("graham_scan", "jarvis_march"):
        angle, radius = 2 * np.pi * rng.uniform(size=n), 2 * np.sqrt(rng.uniform(size=n))
        return {"x": radius * np.cos(angle), "y": radius * np.sin(angle)}
    if name == "matrix_chain_order":
        return {"p": rng.uniform(size=n)}
    low = -1.0 if name == "find_maximum_subarray_kadane" else 0.0
    return {"key": rng.uniform(low, 1.0, size=n)}


def graph(name: str, n: int, rng: np.random.RandomState, p: float) -> dict[str, np.ndarray]:
    """A graph of density about p, and a source where one is asked for."""
    coins = rng.uniform(size=(n, n)) < p
    weights = rng.uniform(0.03, 1.0, size=(n, n))
    if name in ("topological_sort", "dag_shortest_paths"):
        rank = rng.permutation(n)
        coins &= rank[:, None] < rank[None, :]
    elif name not in ("dfs", "strongly_connected_components"):
        coins |= coins.T
        weights = np.sqrt(weights * weights.T)
    unweighted = (
        "articulation_points bridges bfs dfs topological_sort strongly_connected_components"
    )
    A = coins * (1.0 if name in unweighted.split() else weights)
    return {"A": A} | ({"s": np.int64(rng.randint(n))} if name in SOURCED else {})


def checksum(value: np.ndarray) -> float:
    """One number that changes, but for chance, when any entry or the shape does."""
    value = np.asarray(value, np.float64)
    weights = np.modf(np.arange(1, value.size + 1) * 0.6180339887498949)[0]
    return float(value.reshape(-1) @ weights) + float(np.sum(np.sqrt(np.array(value.shape) + 2.0)))
