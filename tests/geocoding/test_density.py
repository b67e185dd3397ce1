"""The density inside leaves: proper, the smallest regions, and right where the truth is known."""

import numpy as np
import pytest

from fl_jax.geocoding import cells, density, metrics, s2, sphere

TOWNS = np.random.default_rng(0)
LAT = np.concatenate([48.8 + 0.3 * TOWNS.normal(size=400), TOWNS.uniform(-50, 60, 400)])
LON = np.concatenate([2.3 + 0.3 * TOWNS.normal(size=400), TOWNS.uniform(-180, 180, 400)])
PARTITION = cells.build(LAT, LON, threshold=300, max_level=6)
GRID = density.grid(PARTITION, LAT, LON)
LEAVES = len(PARTITION.leaves)
FACES = cells.build(LAT, LON, threshold=10_000)  # no leaf ends near Paris
WIDE = density.grid(FACES, LAT, LON)
HOME = np.eye(len(FACES.leaves))[cells.leaf(FACES, np.array([48.8]), np.array([2.3]))[0]]
NONE = density.Points(np.zeros((0, 3)), np.zeros(0), np.zeros(0, np.int64))
WEIGHTS = np.array(density.SPREAD)


def points(lat, lon, p, kind=0):
    at = s2.xyz(np.array(lat), np.array(lon))
    return density.Points(at, np.array(p), np.full(len(p), kind))


def examples(count=20):
    draws = np.random.default_rng(1)
    for _ in range(count):
        rows = draws.integers(0, len(LAT), 3)
        own = points(LAT[rows], LON[rows], draws.dirichlet(np.ones(4))[:3], draws.integers(0, 2))
        mass = draws.dirichlet(np.full(LEAVES, 0.2))
        yield mass, own, density.spread(GRID, mass, own, WEIGHTS)


def leaf_of(found):
    """The leaf that each cell of a density lies in."""
    return cells.leaf(PARTITION, *s2.latlon(s2.centre(found.key, found.level)))


def test_the_grid_divides_every_leaf_where_places_are():
    assert np.bincount(GRID.leaf, GRID.share) == pytest.approx(np.ones(LEAVES))
    area = np.bincount(GRID.leaf, GRID.area)
    np.testing.assert_allclose(area, PARTITION.area[PARTITION.leaves], rtol=1e-9)
    keys, count = np.unique(s2.key(LAT, LON, density.GRID_LEVEL), return_counts=True)
    within = lambda key, level: count[keys >> 2 * (density.GRID_LEVEL - level) == key].sum()
    number = np.array([within(k, n) for k, n in zip(GRID.key, GRID.level, strict=True)])
    assert number[GRID.level < density.GRID_LEVEL].max() < density.CROWD
    split = np.bincount(GRID.leaf)[GRID.leaf] > 1
    assert split.any() and number[split].max() >= density.CROWD / 4
    dense = GRID.share / GRID.area  # of cells of one leaf, the more places the denser
    for own in (GRID.leaf == n for n in np.unique(GRID.leaf[split])):
        wide = number[own] / GRID.area[own]
        assert dense[own][np.argmax(wide)] == dense[own].max()


def test_it_is_proper_and_leaves_keep_their_mass():
    for mass, _, found in examples():
        assert found.mass.min() >= 0 and found.mass.sum() == pytest.approx(1)
        np.testing.assert_allclose(np.bincount(leaf_of(found), found.mass, LEAVES), mass, atol=1e-9)
        assert found.area.sum() == pytest.approx(PARTITION.area[PARTITION.leaves].sum())
        order = np.diff(found.mass / found.area)
        assert (order <= 1e-12).all()


def test_regions_are_the_smallest_and_each_lies_in_the_next():
    for _, _, found in examples():
        before, taken = set(), 0.0
        for mass in np.linspace(0, 1, 21):
            keys, levels = density.region(found, mass)
            own = set(zip(keys.tolist(), levels.tolist(), strict=True))
            assert before <= own and own
            held = found.mass[: len(keys)].sum()
            assert held >= mass - 1e-9 and held >= taken
            assert len(keys) == 1 or held - found.mass[len(keys) - 1] < mass + 1e-12
            assert density.region_km2(found, mass) == pytest.approx(found.area[: len(keys)].sum())
            before, taken = own, held


def test_mass_before_says_which_regions_hold_a_place():
    draws = np.random.default_rng(2)
    for _, own, found in examples(5):
        rows = draws.integers(0, len(LAT), 30)
        keys = np.append(s2.key(LAT[rows], LON[rows], 30), s2.key(*s2.latlon(own.at[0]), 30))
        for key in keys:
            before = density.mass_before(found, key)
            for wanted in (0.0, 0.2, 0.5, 0.9, 1.0):
                cell, level = density.region(found, wanted)
                held = (key >> 2 * (30 - level) == cell).any()
                assert held == (metrics.coverage(np.array([before]), wanted) == 1)


def test_a_place_in_no_cell():
    one = cells.build(np.array([48.8, 48.9]), np.array([2.3, 2.4]), threshold=5, max_level=3)
    grid = density.grid(one, LAT, LON)
    hole = int(s2.key(-33.0, 151.0, 30))
    away = points([-33.0], [151.0], [0.9])  # the pointer points where no leaf is
    found = density.spread(grid, np.ones(1), away, WEIGHTS)
    assert found.mass.sum() == pytest.approx(1)
    assert density.mass_before(found, hole) == 1 and density.log_at(found, hole) == -np.inf
    assert density.holding(grid, hole) == -1


def test_around_a_point_it_falls_as_the_weights_say():
    at = s2.xyz(48.8, 2.3)
    for scale, shares in ((1, (2, 4)), (2, (1, 2, 4)), (3, (1, 2))):
        weights = np.zeros_like(WEIGHTS)
        weights[:, scale] = 1
        found = density.spread(WIDE, HOME, points([48.8], [2.3], [1.0]), weights)
        km = sphere.chord_km(s2.centre(found.key, found.level), at)
        for share in shares:  # of an exponential density 1 - (1 + r) e^-r lies within r scales
            expected = 1 - (1 + share) * np.exp(-share)
            held = found.mass[km < share * density.SCALES_KM[scale]].sum()
            assert held == pytest.approx(expected, abs=0.08)
        assert found.level[np.argmin(km)] == density.FINEST


def test_regions_hold_what_they_say_where_the_density_is_known():
    draws = np.random.default_rng(3)
    inside = np.flatnonzero(WIDE.leaf == HOME.argmax())
    before, held = {p: [] for p in (0.5, 0.8, 0.9)}, {p: [] for p in (0.5, 0.8, 0.9)}
    for _ in range(250):
        rows = draws.choice(np.flatnonzero(sphere.distance(48.8, 2.3, LAT, LON) < 15), 2)
        found = density.spread(WIDE, HOME, points(LAT[rows], LON[rows], [0.5, 0.3]), WEIGHTS)
        what = draws.choice(3, p=[0.5, 0.3, 0.2])
        if what < 2:  # the truth lies around a point
            km = draws.gamma(2, draws.choice(density.SCALES_KM, p=WEIGHTS[0]))
            where = sphere.move(LAT[rows[what]], LON[rows[what]], draws.uniform(0, 360), km)
            key = int(s2.key(*where, 30))
        else:  # or where places are
            cell = draws.choice(inside, p=WIDE.share[inside])
            size = 2 * (30 - int(WIDE.level[cell]))
            key = (int(WIDE.key[cell]) << size) + int(draws.integers(0, 1 << size))
        for p in before:
            before[p].append(density.mass_before(found, key))
            count = len(density.region(found, p)[0])
            held[p].append(found.mass[:count].sum())
    for p in before:  # regions of whole cells hold a little more than they are asked for
        covered = metrics.coverage(np.array(before[p]), p)
        assert covered == pytest.approx(np.mean(held[p]), abs=0.06)
        assert p <= np.mean(held[p]) < p + 0.06


def test_points_of_next_to_no_probability_change_nothing():
    mass = np.full(LEAVES, 1 / LEAVES)
    plain = density.spread(GRID, mass, NONE, WEIGHTS)
    faint = density.spread(GRID, mass, points([48.8], [2.3], [1e-4]), WEIGHTS)
    np.testing.assert_array_equal(plain.key, faint.key)
    np.testing.assert_allclose(plain.mass, faint.mass, rtol=1e-9)
    assert len(plain.key) == len(GRID.key)


def test_what_is_near_a_point_is_the_mixture_of_pointer_and_places():
    """By sampling: a point or, if none is meant, a leaf and one of its cells."""
    draws = np.random.default_rng(2)
    for mass, own, _ in examples(5):
        mass, at = draws.dirichlet(np.ones(LEAVES)), own.at[0]
        share = mass[GRID.leaf] * GRID.share
        centres = np.concatenate([own.at, GRID.centre])
        p = np.concatenate([own.p, (1 - own.p.sum()) * share])
        sampled = centres[draws.choice(len(p), 20_000, p=p / p.sum())]
        for km in (161.0, 2000.0):
            found = density.near(GRID, mass, own, at, km)
            assert found == pytest.approx((sphere.chord_km(sampled, at) < km).mean(), abs=0.015)
        assert density.near(GRID, mass, own, at, sphere.HALF_TURN_KM) == pytest.approx(1.0)
        unsure = own._replace(p=own.p / own.p.sum())  # a pointer that leaves nothing over
        assert density.near(GRID, mass, unsure, at, 1.0) == pytest.approx(unsure.p[0])


def test_all_cells_count_for_what_is_near():
    """The heaviest 64 of them were counted, as if they were all: the fewer, the surer it was."""
    partition = cells.build(LAT, LON, threshold=4, max_level=6)
    grid, leaves = density.grid(partition, LAT, LON), len(partition.leaves)
    assert leaves > 2 * 64
    half = grid.share[grid.centre @ grid.centre[0] > 0].sum() / leaves
    found = density.near(
        grid, np.full(leaves, 1 / leaves), NONE, grid.centre[0], np.pi / 2 * s2.EARTH_KM
    )
    assert found == pytest.approx(half) and 0.2 < half < 0.8
