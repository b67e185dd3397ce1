"""The union of S2 cells as polygons of longitude and latitude [RFC 7946].

Edges are kept as integers on the grid of the finest cell, in the cube's three coordinates, which
faces that meet have in common. An edge that two cells share is there twice and falls out exactly,
whatever the levels of the two. Longitude 180 runs along edges of cells of level 1 and finer: edges
on it stay, which cuts the polygons there.
"""

import collections

import numpy as np

from fl_jax.core import errors
from fl_jax.geocoding import s2

FINEST = 18  # level up to which places on the cube are numbers of 64 bits
STRAIGHT = 5  # level whose edges are drawn as straight lines; longer ones get points between
POLAR = 80.0  # degrees from which on meridians converge, and arcs bend, so that more are needed
POLAR_POINTS = 32  # on each line there
Ring = list[tuple[float, float]]


def polygons(keys: np.ndarray, levels: np.ndarray) -> list[list[Ring]]:
    """The polygons of disjoint cells: rings of (lon, lat), not closed.

    A polygon's outer ring comes first, counter-clockwise, then its holes, clockwise. Polygons and
    rings touch each other in points at most, and no edge crosses longitude 180.

    Raises:
        ConfigError: a cell of a level beyond `FINEST`.
    """
    keys, levels = _without_faces(np.asarray(keys, np.int64), np.asarray(levels, np.int64))
    if not len(keys):
        return []
    keys, levels = _merged(keys, levels)
    finest = max(int(levels.max()), STRAIGHT)
    if finest > FINEST:
        raise errors.ConfigError(f"outlines are of cells to level {FINEST}, got level {finest}.")
    start, end, cell = _edges(keys, levels, finest)
    vertices, ids = np.unique(np.concatenate([start, end]), return_inverse=True)
    start, end = ids[: len(start)], ids[len(start) :]
    line = np.minimum(start, end) * len(vertices) + np.maximum(start, end)
    order = np.argsort(line, kind="stable")
    twice = np.flatnonzero(line[order[1:]] == line[order[:-1]])
    shared = np.zeros(len(line), bool)
    shared[order[twice]] = shared[order[twice + 1]] = True
    part = _parts(len(keys), cell[order[twice]], cell[order[twice + 1]])
    own = ~shared
    found: dict[int, list[Ring]] = collections.defaultdict(list)
    loops, beside = _loops(start[own].tolist(), end[own].tolist(), cell[own].tolist())
    for drawn, of in zip(_drawn(vertices, loops, finest), beside, strict=True):
        found[part[of]] += _simple(drawn)
    return [sorted(rings, key=area, reverse=True) for rings in found.values()]


def area(ring: Ring) -> float:
    """Signed area in square degrees, above 0 if the ring runs counter-clockwise."""
    x, y = np.array(ring).T
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) / 2)


def _without_faces(keys, levels):
    """Faces as their four children: longitude 180 and the poles lie inside faces."""
    faces = keys[levels == 0]
    children = (4 * faces[:, None] + np.arange(4)).reshape(-1)
    keys = np.concatenate([keys[levels > 0], children])
    return keys, np.concatenate([levels[levels > 0], np.ones(len(children), np.int64)])


def _merged(keys, levels):
    """The cells, four that make up a larger one as that one: faces stay cut in four."""
    found, whole = [], keys[:0]
    for level in range(int(levels.max()), 0, -1):
        own = np.sort(np.concatenate([whole, keys[levels == level]]))
        above, count = np.unique(own >> 2, return_counts=True)
        whole = above[(count == 4) & (level > 1)]
        found.append(own[~np.isin(own >> 2, whole)])
    level = np.repeat(np.arange(len(found), 0, -1), [len(own) for own in found])
    return np.concatenate(found), level


def _edges(keys, levels, finest):
    """(from, to, cell) of the edges of all cells, counter-clockwise, cut where others end on them.

    A vertex is a number that holds its place on the cube and, on longitude 180, the side.
    """
    size = 1 << finest
    face, i, j = s2.square(keys, levels)
    edges, cells, west = [], [], np.zeros(len(keys), bool)
    for level in np.unique(levels):
        own = np.flatnonzero(levels == level)
        steps = 1 << max(STRAIGHT - int(level), 0)
        width = 1 << (finest - int(level))
        a, none = np.arange(steps) * (width // steps), np.zeros(steps, np.int64)
        x = np.concatenate([a, none + width, width - a, none])
        y = np.concatenate([none, a, none + width, width - a])
        x, y = i[own, None] * width + x, j[own, None] * width + y
        a, b = 2 * x - size, 2 * y - size
        c = np.full_like(a, size)
        faces = [(c, a, b), (-a, c, b), (-a, -b, c), (-c, -b, -a), (b, -c, -a), (b, a, -c)]
        where = np.stack([np.stack(f, -1) for f in faces])[face[own], np.arange(len(own))]
        edges.append(np.stack([where, np.roll(where, -1, axis=1)], -2).reshape(-1, 2, 3))
        cells.append(np.repeat(own, 4 * steps))
        west[own] = where[..., 1].sum(1) < 0
    edge, cell = np.concatenate(edges), np.concatenate(cells)
    edge, of = _cut(edge, size)
    cell = cell[of]
    start, end = (_number(edge[:, n], west[cell], size) for n in (0, 1))
    return start, end, cell


def _cut(edge, size):
    """((pieces, 2, 3) of straight lines (edges, 2, 3), which line each is of).

    A line is cut where another one that runs along it begins or ends.
    """
    along = np.abs(edge[:, 1] - edge[:, 0]).argmax(1)
    rows, across = np.arange(len(edge)), 2 * size + 1
    beside = edge[:, 0].copy()
    beside[rows, along] = 0
    x, y, z = (beside + size).T
    line = np.unique(((x * across + y) * across + z) * 3 + along, return_inverse=True)[1]
    at = line[:, None] * across + edge[rows, :, along] + size
    ends = np.unique(at)
    first, last = np.searchsorted(ends, np.sort(at, axis=1)).T
    count = last - first
    of = np.repeat(rows, count)
    place = np.arange(len(of)) - np.repeat(np.cumsum(count) - count - first, count)
    back = at[of, 0] > at[of, 1]
    pieces = edge[of]
    for n in (0, 1):
        pieces[np.arange(len(of)), n, along[of]] = ends[place + (back ^ (n == 1))] % across - size
    return pieces, of


def _number(where, west, size):
    x, y, z = np.moveaxis(where, -1, 0)
    side = (y == 0) & (x < 0) & west
    across = 2 * size + 1
    return 2 * (((x + size) * across + y + size) * across + z + size) + side


def _place(numbers, size):
    """((..., 3) places on the cube, (...) side of longitude 180) of `_number`."""
    across = 2 * size + 1
    rest = numbers >> 1
    where = np.stack([rest // across**2, rest // across % across, rest % across], -1) - size
    return where, (numbers & 1).astype(bool)


def _parts(count, first, second) -> list[int]:
    """For each cell, the number of the part that it is in: cells joined by edges."""
    parent = list(range(count))

    def root(n):
        while parent[n] != n:
            parent[n] = parent[parent[n]]
            n = parent[n]
        return n

    for a, b in zip(first.tolist(), second.tolist(), strict=True):
        parent[root(a)] = root(b)
    return [root(n) for n in range(count)]


def _loops(start, end, cell):
    """(the vertices of each, a cell beside each) of the closed lines that the edges make.

    Where two lines meet in a vertex, each goes on along the cell that it came along.
    """
    leaving, coming = collections.defaultdict(list), collections.defaultdict(set)
    for n, (a, b) in enumerate(zip(start, end, strict=True)):
        leaving[a].append(n)
        coming[b].add(cell[n])

    def after(n):
        options = leaving[end[n]]
        same = [o for o in options if cell[o] == cell[n]]
        return (same or [o for o in options if cell[o] not in coming[end[n]]] or options)[0]

    done, loops, beside = [False] * len(start), [], []
    for first in range(len(start)):
        loop, n = [], first
        while not done[n]:
            done[n] = True
            loop.append(start[n])
            n = after(n)
        if loop:
            loops.append(loop)
            beside.append(cell[first])
    return loops, beside


def _drawn(vertices, loops, finest) -> list[Ring]:
    """The loops as (lon, lat); a pole is a line from the longitude before it to the one after.

    Of the vertices on straight lines only those of the level `STRAIGHT` stay.
    """
    size = 1 << finest
    ring = np.repeat(np.arange(len(loops)), [len(loop) for loop in loops])
    where, west = _place(vertices[np.concatenate(loops)], size)
    before, after = _neighbours(ring)
    back, on = np.sign(where - where[before]), np.sign(where[after] - where)
    at = np.take_along_axis(where, np.abs(on).argmax(1)[:, None], 1)[:, 0] + size
    kept = (back != on).any(1) | (at % (2 << (finest - STRAIGHT)) == 0)
    ring, where, west = ring[kept], where[kept], west[kept]
    _, after = _neighbours(ring)
    s = (where / size + 1) / 2
    points = np.where(s >= 0.5, (4 * s * s - 1) / 3, (1 - 4 * (1 - s) ** 2) / 3)
    polar = np.abs(s2.latlon(points)[0]) > POLAR
    count = np.where(polar | polar[after], POLAR_POINTS, 1)
    n = np.repeat(np.arange(len(ring)), count)
    t = (np.arange(len(n)) - np.repeat(np.cumsum(count) - count, count)) / count[n]
    lat, lon = s2.latlon((1 - t)[:, None] * points[n] + t[:, None] * points[after[n]])
    side = (west | west[after])[n]
    lon = np.where(np.abs(lon) == 180, np.where(side, -180.0, 180.0), lon)
    cuts = np.flatnonzero(np.diff(ring[n])) + 1
    pairs = zip(np.split(lon, cuts), np.split(lat, cuts), strict=True)
    return [_with_poles(x.tolist(), y.tolist()) for x, y in pairs]


def _neighbours(ring):
    """(the one before, the one after) of the vertices of rings that stand one after another."""
    first = np.flatnonzero(np.diff(ring, prepend=-1))
    last = np.append(first[1:], len(ring)) - 1
    before, after = np.arange(len(ring)) - 1, np.arange(len(ring)) + 1
    before[first], after[last] = last, first
    return before, after


def _with_poles(lon, lat) -> Ring:
    ring: Ring = []
    for n, (x, y) in enumerate(zip(lon, lat, strict=True)):
        if abs(y) == 90:
            ring += [(lon[n - 1], y), (lon[(n + 1) % len(lon)], y)]
        else:
            ring.append((x, y))
    return ring


def _simple(ring: Ring) -> list[Ring]:
    """The rings that a ring makes which touches itself: none comes twice to a point."""
    found, way, at = [], [], {}
    for point in ring:
        if point in at:
            own = way[at[point] :]
            found.append(own)
            del way[at[point] :]
            for gone in own:
                del at[gone]
        at[point] = len(way)
        way.append(point)
    return [*found, way]
