"""Points and nested cells out of a posterior."""

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
    assert choice.spot == 0
    away = estimate.choose(PARTITION, own, spots[1:], np.array([0.05]))
    assert away.spot == -1
    assert estimate.choose(PARTITION, own, spots, np.array([0.6, 0.05]), snap=False).spot == -1
    lat, lon = estimate.coordinates(spots[0])
    assert (lat, lon) == pytest.approx((48.85, 2.35))
