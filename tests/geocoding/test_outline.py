"""Unions of cells: nothing shared, nothing lost, at faces, poles and longitude 180."""

import collections

import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.geocoding import outline, s2


def cell(lat, lon, level):
    return int(s2.key(lat, lon, level)), level


def draw(*cells):
    keys, levels = zip(*cells, strict=True)
    return outline.polygons(np.array(keys), np.array(levels))


def children(key, level, depth=1):
    return [(key * 4**depth + n, level + depth) for n in range(4**depth)]


def ground(polygons):
    """km2 of polygons, by Green's theorem along their straight lines."""
    total = 0.0
    for ring in (ring for polygon in polygons for ring in polygon):
        x, y = np.deg2rad(np.array([*ring, ring[0]])).T
        y = np.sin(y)
        total += float(np.sum(np.diff(x) * -(y[1:] + y[:-1]) / 2)) * s2.EARTH_KM**2
    return total


def check(polygons, cells):
    """Valid: each ring simple, no edge twice, outer rings and holes turned as they should be."""
    edges = collections.Counter()
    for polygon in polygons:
        assert outline.area(polygon[0]) > 0 and all(outline.area(hole) < 0 for hole in polygon[1:])
        for ring in polygon:
            assert len(ring) > 2 and len(set(ring)) == len(ring)
            for a, b in zip(ring, ring[1:] + ring[:1], strict=True):
                edges[frozenset((a, b))] += 1
                assert abs(a[0]) <= 180 and abs(a[1]) <= 90
                assert abs(b[0] - a[0]) < 180 or abs(a[1]) == 90
    assert max(edges.values()) == 1
    keys, levels = np.array(cells).T
    assert ground(polygons) == pytest.approx(s2.area_km2(keys, levels).sum(), rel=0.02)


def joined(cells):
    """How many parts cells of one level make, by edges that they share off longitude 180."""
    keys, levels = np.array(cells).T
    corners = np.round(s2.corners(keys, levels), 9) + 0.0
    part, first = list(range(len(cells))), {}

    def root(n):
        while part[n] != n:
            n = part[n]
        return n

    for n, four in enumerate(corners):
        for a, b in zip(four, np.roll(four, -1, 0), strict=True):
            if a[1] == b[1] == 0 and min(a[0], b[0]) < 0:
                continue
            part[root(n)] = root(first.setdefault(frozenset((tuple(a), tuple(b))), n))
    return len({root(n) for n in range(len(cells))})


def crossings(polygons):
    """How many pairs of lines cross within both."""
    lines = [(a, b) for p in polygons for r in p for a, b in zip(r, r[1:] + r[:1], strict=True)]
    a, b = np.array(lines).swapaxes(0, 1)
    side = lambda p, q, x: np.sign(
        np.round((q - p)[:, None, 0] * (x - p[:, None])[..., 1]
                 - (q - p)[:, None, 1] * (x - p[:, None])[..., 0], 10)
    )  # fmt: skip
    count = 0
    for n in range(0, len(a), 200):
        p, q = a[n : n + 200], b[n : n + 200]
        apart = side(p, q, a) * side(p, q, b) < 0
        other = side(a, b, p) * side(a, b, q) < 0
        count += int((apart & other.T).sum())
    return count


PARIS, FIJI = (48.85, 2.35), (-17.7, 179.99)


@pytest.mark.parametrize(
    ("cells", "rings"),
    [
        (children(*cell(*PARIS, 4)), [1]),
        # a large cell beside a small one
        ([cell(*PARIS, 3), *children(*(cell(*PARIS, 3)[0] ^ 1, 3), 2)], [1]),
        # without one in the middle, and without one at the corner
        ([c for n, c in enumerate(children(*cell(*PARIS, 3), 2)) if n != 2], None),
        ([c for c in children(*cell(*PARIS, 2), 3) if c[0] != cell(*PARIS, 5)[0]], None),
        # all faces, of several levels
        ([(n, 0) for n in range(6)], [1]),
        ([(n, 0) for n in range(5)] + children(5, 0, 3), [1]),
        ([(3, 0)], [1, 1]),
        ([(2, 0)], [1]),
        ([(2, 0), (0, 0)], [1]),
        ([(2, 0), (3, 0)], [1]),
        (children(*cell(89.99, 10.0, 2)), [1]),
        # either side of longitude 180
        ([cell(*FIJI, 6), cell(-17.7, -179.99, 6)], [1, 1]),
    ],
)
def test_unions(cells, rings):
    found = draw(*cells)
    check(found, cells)
    if rings is not None:
        assert sorted(map(len, found)) == rings


def grid(*squares, level=4, face=0):
    """Cells of a face at (i, j)."""
    keys = np.arange(4**level) + face * 4**level
    _, i, j = s2.square(keys, level)
    where = {(int(a), int(b)): int(k) for a, b, k in zip(i, j, keys, strict=True)}
    return [(where[s], level) for s in squares]


def test_cells_that_touch_in_a_corner_are_polygons_of_their_own():
    cells = grid((3, 3), (4, 4))
    found = draw(*cells)
    check(found, cells)
    assert [len(polygon) for polygon in found] == [1, 1]


def test_holes():
    around = [(i, j) for i in range(3, 6) for j in range(3, 6) if (i, j) != (4, 4)]
    cells = grid(*around)
    (polygon,) = draw(*cells)
    check([polygon], cells)
    assert len(polygon) == 2
    # a hole that touches the outside in a corner
    cells = grid(*(s for s in around if s != (5, 5)))
    (polygon,) = draw(*cells)
    check([polygon], cells)
    assert len(polygon) == 2
    # and an island in it that touches it
    ring = [(i, j) for i in range(5) for j in range(5) if i in (0, 4) or j in (0, 4)]
    cells = grid(*(s for s in ring if s != (0, 0)), (1, 1), (2, 2))
    found = draw(*cells)
    check(found, cells)
    assert sorted(map(len, found)) == [1, 2]


@pytest.mark.parametrize("seed", range(3))
def test_random_cells_of_several_levels(seed):
    draws = np.random.default_rng(seed)
    cells, todo = [], [(n, 0) for n in range(6)]
    while todo:
        key, level = todo.pop()
        if level < 5 and draws.random() < (1 if level < 2 else 0.5):
            todo += children(key, level)
        elif draws.random() < 0.5:
            cells.append((key, level))
    found = draw(*cells)
    check(found, cells)
    assert len(found) == joined([c for own in cells for c in children(*own, 5 - own[1])])
    assert not crossings(found)


def test_large_cells_are_cut_only_where_fine_ones_lie_beside_them():
    key, level = cell(*PARIS, 2)
    beside = key ^ 1
    fine = [(beside * 4**12 + n, 14) for n in (0, 5, 6)]
    found = draw((key, level), *fine)
    check(found, [(key, level), *fine])
    start, _, _ = outline._edges(*map(np.array, zip((key, level), *fine, strict=True)), 14)
    assert len(start) < 4 * 8 + 30  # not 2^12 a side
    whole = draw(*children(key, level, 3), *fine)
    assert sorted(map(sorted, (r for p in whole for r in p))) == sorted(
        map(sorted, (r for p in found for r in p))
    )


def test_nothing_and_too_fine():
    assert outline.polygons(np.zeros(0, np.int64), np.zeros(0, np.int64)) == []
    with pytest.raises(errors.ConfigError, match="level 18"):
        draw((0, 19))
