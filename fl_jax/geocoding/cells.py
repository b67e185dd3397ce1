"""Adaptive partition of the Earth into S2 cells [Solaz & Shalumov 2023], and its tree.

Cells are split where the data are: a leaf is the first cell on a point's path that holds fewer
than `threshold` training points, or the one at `max_level`. The leaves are disjoint; cells in
which no point lies do not exist and are holes of the partition.
"""

from typing import NamedTuple

import numpy as np

from fl_jax.core import errors
from fl_jax.geocoding import s2

FACES = 6
ROOT = 0  # a node above the six faces, of level -1


class Partition(NamedTuple):
    """A tree of cells, as arrays over its nodes (by level, then key) and its leaves.

    The leaves stand in the order of the Hilbert curve, so that the leaves of a node are those
    from `first` to `last`.
    """

    level: np.ndarray  # (nodes,) int32, -1 for the root
    key: np.ndarray  # (nodes,) int64
    parent: np.ndarray  # (nodes,) int32, -1 for the root
    children: np.ndarray  # (nodes, 6) int32, -1 where there is none; a cell has four at most
    count: np.ndarray  # (nodes,) training points
    first: np.ndarray  # (nodes,) first leaf below
    last: np.ndarray  # (nodes,) leaf after the last one below
    leaves: np.ndarray  # (leaves,) their nodes
    mean: np.ndarray  # (nodes, 3) unit vector to the mean training point
    centre: np.ndarray  # (nodes, 3) unit vector to the cell's centre
    area: np.ndarray  # (nodes,) km^2
    threshold: int
    max_level: int

    @property
    def depth(self) -> int:
        """Tokens of the longest label: the levels, from the face on."""
        return int(self.level.max()) + 1

    def label(self, node: int | np.integer) -> str:
        """The node as the paper writes it."""
        return s2.text(self.key[node], int(self.level[node])) if node else ""


def build(lat: np.ndarray, lon: np.ndarray, *, threshold: int = 5000, max_level: int = 8):
    """The partition of these training points.

    Args:
        lat, lon: degrees.
        threshold: a cell with as many points or more is split; 5,000 is the paper's.
        max_level: cells of this level are not split; 8 is the paper's.

    Raises:
        DataError: no points, or more of one coordinate than of the other.

    Example:
        >>> found = build(np.array([48.8, 48.9, -33.0]), np.array([2.3, 2.4, 151.0]), threshold=2)
        >>> [found.label(n) for n in found.leaves]
        ['203330303', '3']
    """
    errors.positive("threshold", threshold)
    if not len(lat):
        raise errors.DataError("a partition needs training points, and there are none.")
    if np.shape(lat) != np.shape(lon):
        raise errors.DataError(
            f"{np.shape(lat)} latitudes came with {np.shape(lon)} longitudes; give one of each."
        )
    keys = s2.key(lat, lon, max_level)
    live = np.ones(len(keys), bool)
    levels, cells, counts, is_leaf = [[-1]], [[0]], [[len(keys)]], [[False]]
    for level in range(max_level + 1):
        own, inverse, number = np.unique(
            keys[live] >> 2 * (max_level - level), return_inverse=True, return_counts=True
        )
        if not len(own):
            break
        ends = (number < threshold) | (level == max_level)
        levels.append(np.full(len(own), level))
        cells.append(own)
        counts.append(number)
        is_leaf.append(ends)
        live[np.flatnonzero(live)[ends[inverse]]] = False
    vectors = s2.xyz(lat, lon)
    join = lambda parts: np.concatenate([np.asarray(p, np.int64) for p in parts])
    return _finish(
        join(levels),
        join(cells),
        join(counts),
        join(is_leaf) > 0,
        keys,
        vectors,
        threshold,
        max_level,
    )


def _finish(level, key, count, is_leaf, keys, vectors, threshold, max_level) -> Partition:
    nodes = len(level)
    index = {(int(a), int(b)): n for n, (a, b) in enumerate(zip(level, key, strict=True))}
    parent = np.full(nodes, -1, np.int32)
    children = np.full((nodes, FACES), -1, np.int32)
    for n in range(1, nodes):
        above = (int(level[n]) - 1, int(key[n]) >> 2) if level[n] else (-1, 0)
        parent[n] = index[above]
        children[parent[n], int(key[n]) & 3 if level[n] else int(key[n])] = n
    own = np.flatnonzero(is_leaf)
    leaves = own[np.argsort(key[own] << 2 * (max_level - level[own]), kind="stable")]
    first, last = np.full(nodes, len(leaves)), np.zeros(nodes, np.int64)
    first[leaves], last[leaves] = np.arange(len(leaves)), np.arange(len(leaves)) + 1
    mean = np.zeros((nodes, 3))
    for depth in range(-1, max_level + 1):
        at = np.flatnonzero(level == depth)
        if depth < 0:
            mean[at] = vectors.sum(0)
            continue
        cell = keys >> 2 * (max_level - depth)
        place = np.minimum(np.searchsorted(key[at], cell), len(at) - 1)
        inside = key[at][place] == cell if len(at) else np.zeros(len(cell), bool)
        np.add.at(mean, at[place[inside]], vectors[inside])
    for n in range(nodes - 1, 0, -1):
        first[parent[n]] = min(first[parent[n]], first[n])
        last[parent[n]] = max(last[parent[n]], last[n])
    size = np.linalg.norm(mean, axis=1, keepdims=True)
    cells = np.maximum(level, 0)
    centre, area = s2.centre(key, cells), s2.area_km2(key, cells)
    area[ROOT] = 4 * np.pi * s2.EARTH_KM**2
    mean = np.where(size > 1e-9, mean / np.maximum(size, 1e-9), centre)
    as_int = lambda a: a.astype(np.int32)
    return Partition(
        as_int(level), key, parent, children, count, as_int(first), as_int(last), as_int(leaves),
        mean, centre, area, int(threshold), int(max_level),
    )  # fmt: skip


def deepest(partition: Partition, lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    """The deepest node (int32) that holds each point: a leaf, or the cell above a hole."""
    keys = s2.key(lat, lon, partition.max_level)
    node = np.zeros(len(keys), np.int32)
    for level in range(partition.depth):
        at = np.flatnonzero(partition.level == level)
        cell = keys >> 2 * (partition.max_level - level)
        place = np.minimum(np.searchsorted(partition.key[at], cell), len(at) - 1)
        found = (partition.key[at][place] == cell) & (partition.level[node] == level - 1)
        node = np.where(found, at[place], node).astype(np.int32)
    return node


def leaf(partition: Partition, lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    """The leaf (index into `leaves`, int32) of each point; in a hole, the nearest beside it."""
    node = deepest(partition, lat, lon)
    of_node = np.full(len(partition.level), -1, np.int32)
    of_node[partition.leaves] = np.arange(len(partition.leaves))
    found = of_node[node]
    points = s2.xyz(lat, lon)
    means = partition.mean[partition.leaves]
    for n in np.flatnonzero(found < 0):
        a, b = partition.first[node[n]], partition.last[node[n]]
        found[n] = a + int(np.argmax(means[a:b] @ points[n]))
    return found


def ancestors(partition: Partition, node: int | np.integer) -> list[int]:
    """The nodes from the face down to this one."""
    found = []
    while node > 0:
        found.append(int(node))
        node = partition.parent[node]
    return found[::-1]


def leaf_mass(partition: Partition, node: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """(leaves,) the mass of disjoint nodes on leaves; of an inner one as the training points lie.

    Args:
        partition: of the nodes.
        node: (nodes,) leaves and inner nodes.
        mass: (nodes,) of each.
    """
    every = np.zeros(len(partition.level))
    every[node] = mass
    found = every[partition.leaves]
    count = partition.count[partition.leaves].astype(np.float64)
    for inner in node[partition.children[node].max(1) >= 0]:
        own = slice(partition.first[inner], partition.last[inner])
        found[own] += every[inner] * count[own] / count[own].sum()
    return found


def paths(partition: Partition) -> np.ndarray:
    """(leaves, depth) int32: the nodes from the face to each leaf, then -1."""
    found = np.full((len(partition.leaves), partition.depth), -1, np.int32)
    for row, node in enumerate(partition.leaves):
        way = ancestors(partition, node)
        found[row, : len(way)] = way
    return found


def kernel(partition: Partition, scale_km: float, size: int) -> tuple[np.ndarray, np.ndarray]:
    """For each leaf, what a place in it says when it may be beside: a distribution over leaves.

    Weights fall as exp(-distance / scale) between mean points.

    Returns:
        (leaves, weights), both (leaves, size), the heaviest first.
    """
    points = partition.mean[partition.leaves]
    size = min(size, len(points))
    angle = np.arccos(np.clip(points @ points.T, -1, 1)) * s2.EARTH_KM
    nearest = np.argsort(angle, axis=1, kind="stable")[:, :size]
    weight = np.exp(-np.take_along_axis(angle, nearest, 1) / scale_km)
    return nearest.astype(np.int32), weight / weight.sum(1, keepdims=True)


def arrays(partition: Partition) -> dict[str, np.ndarray]:
    """What a file keeps of a partition; `restore` makes the rest anew."""
    fields = ("level", "key", "count", "mean")
    found = {f: getattr(partition, f) for f in fields}
    is_leaf = np.zeros(len(partition.level), bool)
    is_leaf[partition.leaves] = True
    limits = np.array([partition.threshold, partition.max_level])
    return {**found, "is_leaf": is_leaf, "limits": limits}


def restore(saved: dict[str, np.ndarray]) -> Partition:
    """The partition that `arrays` was taken of."""
    threshold, max_level = (int(x) for x in saved["limits"])
    none = np.zeros(0, np.int64), np.zeros((0, 3))
    made = _finish(
        saved["level"].astype(np.int64), saved["key"], saved["count"], saved["is_leaf"], *none,
        threshold, max_level,
    )  # fmt: skip
    return made._replace(mean=saved["mean"])
