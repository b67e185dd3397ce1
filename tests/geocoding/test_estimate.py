"""Points and regions out of a posterior."""

import numpy as np
import pytest

from fl_jax.geocoding import cells, estimate, metrics, s2

LAT = np.array([48.8, 48.9, 51.5, 40.7, -33.9])
LON = np.array([2.3, 2.4, -0.1, -74.0, 151.2])
PARTITION = cells.build(LAT, LON, threshold=2, max_level=6)


def posterior(masses):
    logs = np.full(len(PARTITION.level), -1e9)
    logs[PARTITION.leaves] = np.log(np.maximum(masses, 1e-300))
    stopped = np.zeros(len(logs), bool)
    stopped[PARTITION.leaves] = True
    return estimate.distribution(logs, stopped)


def test_the_region_is_the_smallest():
    masses = np.array([0.4, 0.3, 0.2, 0.1])[: len(PARTITION.leaves)]
    masses = masses / masses.sum()
    own = posterior(masses)

    for wanted in (0.3, 0.5, 0.9):
        nodes = estimate.region(PARTITION, own, wanted)
        chosen = own.mass[np.isin(own.node, nodes)].sum()
        assert chosen >= wanted - 1e-9
        density = own.mass / PARTITION.area[own.node]
        left = ~np.isin(own.node, nodes)
        assert not left.any() or density[left].max() <= density[~left].min()
    assert estimate.spread_km2(PARTITION, nodes) > 0


def test_mass_before_says_which_regions_hold_a_node():
    draws = np.random.default_rng(0)
    for _ in range(50):
        own = posterior(draws.dirichlet(np.ones(len(PARTITION.leaves))))
        for leaf in PARTITION.leaves:
            before = estimate.mass_before(PARTITION, own, leaf)
            for wanted in (0.0, 0.2, 0.5, 0.9, 1.0):
                held = leaf in estimate.region(PARTITION, own, wanted)
                assert held == (metrics.coverage(np.array([before]), wanted) == 1)


def test_a_cell_that_was_not_expanded_holds_what_lies_below_it():
    leaf = PARTITION.leaves[0]
    above = PARTITION.parent[leaf]
    own = estimate.Cells(np.array([above], np.int32), np.ones(1))
    assert estimate.mass_before(PARTITION, own, leaf) == 0
    assert estimate.mass_before(PARTITION, own, PARTITION.leaves[-1]) == 1
    assert estimate.mass_before(PARTITION, own, cells.ROOT) == 1  # a hole of the whole Earth


def test_nested_cells_end_in_the_likeliest_leaf():
    masses = np.full(len(PARTITION.leaves), 0.0)
    face = np.array([cells.ancestors(PARTITION, n)[0] for n in PARTITION.leaves])
    crowded = np.flatnonzero(face == face[cells.leaf(PARTITION, LAT[:1], LON[:1])[0]])
    alone = np.flatnonzero(face != face[crowded[0]])[0]
    masses[crowded] = 0.6 / len(crowded)  # the likelier face, of leaves that are less likely
    masses[alone] = 0.4
    logs = np.full(len(PARTITION.level), -1e9)
    for n, (a, b) in enumerate(zip(PARTITION.first, PARTITION.last, strict=True)):
        logs[n] = np.log(max(masses[a:b].sum(), 1e-300))
    found = estimate.nested(PARTITION, logs)
    assert [n for n, _ in found] == cells.ancestors(PARTITION, PARTITION.leaves[alone])
    assert [p for _, p in found] == pytest.approx([0.4] * len(found))


def test_a_likely_spot_is_answered_and_an_unlikely_one_is_not():
    masses = np.full(len(PARTITION.leaves), 1e-3)
    home = cells.leaf(PARTITION, LAT[:1], LON[:1])[0]
    masses[home] = 1
    own = posterior(masses / masses.sum())
    spots = s2.xyz(np.array([48.85, -33.9]), np.array([2.35, 151.2]))
    choice = estimate.choose(PARTITION, own, spots, np.array([0.6, 0.05]))
    assert choice.spot == 0 and choice.near > 0.8
    away = estimate.choose(PARTITION, own, spots[1:], np.array([0.05]))
    assert away.spot == -1
    assert estimate.choose(PARTITION, own, spots, np.array([0.6, 0.05]), snap=False).spot == -1
    lat, lon = estimate.coordinates(spots[0])
    assert (lat, lon) == pytest.approx((48.85, 2.35))
