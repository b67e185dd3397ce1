"""Points and regions out of a posterior."""

import numpy as np
import pytest

from fl_jax.geocoding import cells, estimate, s2

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


def test_mass_above_is_uniform_if_the_posterior_is_right():
    draws = np.random.default_rng(0)
    count = len(PARTITION.leaves)
    found = []
    for _ in range(3000):
        masses = draws.dirichlet(np.ones(count))
        own = posterior(masses)
        true = PARTITION.leaves[draws.choice(count, p=masses)]
        found.append(estimate.mass_above(PARTITION, own, int(true), float(draws.random())))
    for p in (0.1, 0.5, 0.9):
        assert np.mean(np.array(found) <= p) == pytest.approx(p, abs=0.03)
    assert estimate.mass_above(PARTITION, own, 0, 0.5) == 1.0


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
