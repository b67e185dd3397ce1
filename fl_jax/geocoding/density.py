"""How a posterior's mass lies inside its leaves: a density on cells finer than the leaves.

Two things say where in a leaf a text means. The gazetteer says where places are: the leaf is
divided into cells in which few of them lie, and its mass is spread as the places are. The pointer
says which place is meant: around each place that it points at, cells get so small that the mass of
a few hundred metres can be told from that of a few kilometres.

Inside a leaf the density is the mixture of the two; between leaves it is the posterior, which
stays as it is: the cells of a leaf sum to the mass of the leaf.
"""

from typing import NamedTuple

import numpy as np

from fl_jax.geocoding import s2
from fl_jax.geocoding.cells import Partition

CROWD = 64  # places of the gazetteer that split a cell
GRID_LEVEL = 11  # of the cells that places alone make, at most; some 9 km wide
FLAT = 16.0  # places that are thought to lie evenly in a cell, besides those that do lie there
FINEST = 13  # level of the cells around what is pointed at; some 1.1 km wide
ROUND = 1.5  # a cell nearer to a point than so many of its widths is split
SCALES_KM = (0.25, 1.0, 4.0, 16.0)  # in which the density around a point falls to 1/e
REACH_KM = 10 * SCALES_KM[-1]  # as far as a point's mass goes
LEAST = 1e-3  # of the pointer; points of less are left out
KINDS = 2  # of points: places of the gazetteer, and others (phrases, places moved)
SPREAD = ((0.6, 0.2, 0.15, 0.05), (0.05, 0.05, 0.1, 0.8))  # of scales by kind, if nothing is known


class Grid(NamedTuple):
    """Leaves divided where places lie: the same cells for every text, leaf after leaf."""

    leaf: np.ndarray  # (cells,) int64, that it is a part of
    key: np.ndarray  # (cells,) int64
    level: np.ndarray  # (cells,) int64
    share: np.ndarray  # (cells,) of its leaf's mass; those of a leaf sum to 1
    area: np.ndarray  # (cells,) km^2
    centre: np.ndarray  # (cells, 3)


class Density(NamedTuple):
    """A proper distribution over disjoint cells, the densest first."""

    key: np.ndarray  # (cells,) int64
    level: np.ndarray  # (cells,) int64
    area: np.ndarray  # (cells,) km^2
    mass: np.ndarray  # (cells,) sums to 1


class Points(NamedTuple):
    """Where a text's pointer points."""

    at: np.ndarray  # (points, 3) unit vectors
    p: np.ndarray  # (points,) probability that the truth is there; they sum to 1 at most
    kind: np.ndarray  # (points,) below `KINDS`


def grid(partition: Partition, lat: np.ndarray, lon: np.ndarray) -> Grid:
    """The grid of a partition and of these places.

    A cell's share of the one that it is a quarter of is (n + F a) / (N + F), of n and N places in
    the two, a quarter's share a of the area, and F = `FLAT`.

    Args:
        partition: whose leaves are divided.
        lat, lon: of the places, in degrees.
    """
    places = np.sort(s2.key(lat, lon, GRID_LEVEL))

    def count(key, level):
        shift = 2 * np.maximum(GRID_LEVEL - level, 0)
        inside = np.searchsorted(places, (key + 1) << shift) - np.searchsorted(places, key << shift)
        return np.where(level <= GRID_LEVEL, inside, 0)

    key = partition.key[partition.leaves]
    level = partition.level[partition.leaves].astype(np.int64)
    leaf, share = np.arange(len(key)), np.ones(len(key))
    area, number = partition.area[partition.leaves], count(key, level)
    found = []
    while len(key):
        split = (number >= CROWD) & (level < GRID_LEVEL)
        found.append([a[~split] for a in (leaf, key, level, share, area)])
        inner = share[split] / (number[split] + FLAT)
        leaf, (key, level) = np.repeat(leaf[split], 4), _quarters(key[split], level[split])
        area, number = s2.area_km2(key, level), count(key, level)
        part = area / np.repeat(area.reshape(-1, 4).sum(1), 4)
        share = np.repeat(inner, 4) * (number + FLAT * part)
    leaf, key, level, share, area = (np.concatenate(a) for a in zip(*found, strict=True))
    order = np.argsort(leaf, kind="stable")
    made = Grid(*(a[order] for a in (leaf, key, level, share, area)), np.zeros(0))
    return made._replace(centre=s2.centre(made.key, made.level))


def _quarters(key, level):
    """(key, level) of the four children of each cell."""
    return (4 * key[:, None] + np.arange(4)).reshape(-1), np.repeat(level + 1, 4)


def spread(grid: Grid, mass: np.ndarray, points: Points, weights: np.ndarray) -> Density:
    """The density of one text.

    Inside a leaf it is proportional to r P(leaf) share(cell) + sum_s p_s K_s(cell), where r is
    what the pointer leaves over and K_s falls around point s as `weights` say.

    Args:
        grid: of the geocoder.
        mass: (leaves,) the posterior of the leaves; sums to 1.
        points: what the pointer points at.
        weights: (`KINDS`, scales) of the densities of `SCALES_KM`, by kind of point.
    """
    keep = points.p >= LEAST
    points = Points(*(a[keep] for a in points))
    cells = _refined(grid, points.at)
    around = _around(cells, points, weights)
    own = left(points) * mass[cells.leaf] * cells.share + around
    total = np.bincount(cells.leaf, own, len(mass))
    whole = np.divide(mass, total, out=np.zeros(len(mass)), where=total > 0)
    found = own * whole[cells.leaf]
    order = np.argsort(-found / cells.area, kind="stable")
    return Density(cells.key[order], cells.level[order], cells.area[order], found[order])


def near(grid: Grid, mass: np.ndarray, points: Points, at: np.ndarray, km: float) -> float:
    """The probability that the truth is within `km` of a point, for `km` far above `SCALES_KM`.

    That of the points that lie there, and, of what the pointer leaves over, the mass of the
    grid's cells whose centres do.

    Args:
        grid: of the geocoder.
        mass: (leaves,) the posterior of the leaves; sums to 1.
        points: what the pointer points at.
        at: (3,) unit vector.
        km: great-circle distance.
    """
    least = np.cos(km / s2.EARTH_KM)
    inside = np.flatnonzero(grid.centre @ at > least)
    rest = max(1.0 - float(points.p.sum()), 0.0)
    cells = float((mass[grid.leaf[inside]] * grid.share[inside]).sum())
    pointed = float(points.p[points.at @ at > least].sum())
    return (pointed + rest * cells) / (rest + float(points.p.sum()))


def left(points: Points) -> float:
    """The probability that the truth is at none of the points; never quite 0."""
    return max(1.0 - float(points.p.sum()), LEAST)


def _refined(grid: Grid, points: np.ndarray) -> Grid:
    """The cells of a grid, split around points; what lies in a cell is shared by area."""
    if not len(points):
        return grid
    split = _near(grid.centre, grid.level, points)
    of = np.flatnonzero(split)
    key, level, parts = grid.key[of], grid.level[of], []
    while len(of):
        of, (key, level) = np.repeat(of, 4), _quarters(key, level)
        centre = s2.centre(key, level)
        again = _near(centre, level, points)
        parts.append([a[~again] for a in (of, key, level, centre)])
        of, key, level = of[again], key[again], level[again]
    if not parts:
        return grid
    of, key, level, centre = (np.concatenate(a) for a in zip(*parts, strict=True))
    area = s2.area_km2(key, level)
    share = grid.share[of] * area / np.bincount(of, area)[of]
    made = Grid(grid.leaf[of], key, level, share, area, centre)
    kept = (a[~split] for a in grid)
    return Grid(*(np.concatenate(pair) for pair in zip(kept, made, strict=True)))


def _near(centre, level, points) -> np.ndarray:
    """Which cells lie so near to a point that they are split."""
    width = np.sqrt(4 * np.pi / 6 / 4.0**level)  # of a square of the level's mean area
    return ((centre @ points.T).max(1) > np.cos(ROUND * width)) & (level < FINEST)


def _around(cells: Grid, points: Points, weights: np.ndarray) -> np.ndarray:
    """(cells,) the mass of points on cells: that of each sums to its probability."""
    cosine = cells.centre @ points.at.T
    cell, point = np.nonzero(cosine > np.cos(REACH_KM / s2.EARTH_KM))
    km = s2.EARTH_KM * np.sqrt(np.maximum(2 - 2 * cosine[cell, point], 0))
    found = np.zeros(len(cells.key))
    for scale, weight in zip(SCALES_KM, weights[points.kind].T, strict=True):
        own = np.exp(-km / scale) * cells.area[cell]
        total = np.bincount(point, own, len(points.p))
        share = np.divide(weight * points.p, total, out=np.zeros(len(total)), where=total > 0)
        found += np.bincount(cell, own * share[point], len(found))
    return found


def region(density: Density, mass: float) -> tuple[np.ndarray, np.ndarray]:
    """(keys, levels) of the smallest region of whole cells that holds so much of the mass.

    These are the densest cells, the densest one in any case; what the last of them holds beyond
    the mass is in the region too.
    """
    count = _count(density, mass)
    return density.key[:count], density.level[:count]


def region_km2(density: Density, mass: float) -> float:
    """The area of `region`."""
    return float(density.area[: _count(density, mass)].sum())


def _count(density, mass):
    return max(int(np.searchsorted(_before(density), mass)), 1)


def _before(density):
    return np.concatenate([[0.0], np.cumsum(density.mass)[:-1]])


def mass_before(density: Density, key: int | np.integer) -> float:
    """Mass of the cells that enter a region before the one that a place lies in.

    `region` holds the place if it is asked for more than this, and in any case where this is 0;
    1 for a place that lies in none of the cells.

    Args:
        density: of a text.
        key: of the place's cell of level `s2.LEVELS`.
    """
    own = holding(density, key)
    return float(_before(density)[own]) if own >= 0 else 1.0


def log_at(density: Density, key: int | np.integer) -> float:
    """log of the mass to a km^2 at a place, -inf in none of the cells; `key` as `mass_before`."""
    own = holding(density, key)
    with np.errstate(divide="ignore"):
        return float(np.log(density.mass[own] / density.area[own])) if own >= 0 else -np.inf


def holding(cells: Grid | Density, key: int | np.integer) -> int:
    """Which of the cells holds a place, -1 if none; `key` as `mass_before`."""
    own = np.flatnonzero(key >> 2 * (s2.LEVELS - cells.level) == cells.key)
    return int(own[0]) if len(own) else -1
