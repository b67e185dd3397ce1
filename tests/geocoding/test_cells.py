"""The partition: its invariants, and the reference leaf counts on the real data."""

import gzip

import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.data import sources
from fl_jax.geocoding import cells, s2


def points(count=3000, seed=0):
    draws = np.random.default_rng(seed)
    return s2.latlon(draws.normal(size=(count, 3)) + np.array([1.0, 0.5, 0.8]))


@pytest.mark.parametrize(("threshold", "max_level"), [(50, 8), (500, 3), (7, 12)])
def test_invariants(threshold, max_level):
    lat, lon = points()
    found = cells.build(lat, lon, threshold=threshold, max_level=max_level)
    leaves = found.leaves
    labels = [found.label(n) for n in leaves]
    assert not any(a != b and b.startswith(a) for a in labels for b in labels)
    below = found.level[leaves] < max_level
    assert (found.count[leaves][below] < threshold).all()
    inner = np.setdiff1d(np.arange(len(found.level)), leaves)
    assert (found.count[inner[1:]] >= threshold).all()
    assert found.count[leaves].sum() == len(lat)
    counts = np.bincount(cells.leaf(found, lat, lon), minlength=len(leaves))
    np.testing.assert_array_equal(counts, found.count[leaves])
    for node in inner:
        own = found.leaves[found.first[node] : found.last[node]]
        assert found.count[own].sum() == found.count[node]


def test_order_of_points_does_not_count_and_a_large_threshold_gives_faces():
    lat, lon = points()
    order = np.random.default_rng(1).permutation(len(lat))
    one, other = (
        cells.build(a, b, threshold=50) for a, b in ((lat, lon), (lat[order], lon[order]))
    )
    np.testing.assert_array_equal(one.key, other.key)
    faces = cells.build(lat, lon, threshold=len(lat) + 1)
    assert set(faces.level[faces.leaves]) == {0}
    with pytest.raises(errors.DataError, match="none"):
        cells.build(lat[:0], lon[:0])
    with pytest.raises(errors.DataError, match="one of each"):
        cells.build(np.zeros(2), np.zeros(1))


def test_a_hole_belongs_to_the_cell_above_and_goes_to_the_nearest_leaf():
    lat, lon = np.array([48.8, 48.9, 48.7, 40.0]), np.array([2.3, 2.4, 2.2, -3.0])
    found = cells.build(lat, lon, threshold=2, max_level=6)
    node = cells.deepest(found, np.array([50.0]), np.array([20.0]))[0]
    assert node not in found.leaves
    own = cells.leaf(found, np.array([48.8]), np.array([2.9]))[0]
    assert found.count[found.leaves[own]] >= 1
    path = cells.paths(found)
    assert (path[:, 0] > 0).all()
    assert path.shape[1] == found.depth


def test_saved_and_restored():
    found = cells.build(*points(), threshold=50)
    back = cells.restore(cells.arrays(found))
    for name, value in found._asdict().items():
        np.testing.assert_allclose(getattr(back, name), value)


def test_a_kernel_is_a_distribution_that_begins_with_its_own_leaf():
    found = cells.build(*points(), threshold=100)
    near, weight = cells.kernel(found, 100.0, 5)
    np.testing.assert_allclose(weight.sum(1), 1)
    np.testing.assert_array_equal(near[:, 0], np.arange(len(found.leaves)))


WIKIDATA = [(5000, 8, 27), (500, 8, 206), (100, 8, 984), (50, 8, 1896), (50, 12, 2055),
            (20, 12, 5058)]  # fmt: skip
GEONAMES = [(5000, 8, 136), (500, 8, 1236), (100, 10, 5844), (50, 12, 11667)]


@pytest.mark.data("wikidata-geo")
@pytest.mark.parametrize(
    ("name", "column", "cases"),
    [("wikidata-geo/wikidata_geo_train.tsv.gz", 3, WIKIDATA),
     ("geonames-cities500/cities500.tsv.gz", 2, GEONAMES)],
)  # fmt: skip
def test_reference_counts(name, column, cases):
    folder, _, file = name.partition("/")
    with gzip.open(sources.require(folder) / file, "rt", encoding="utf-8") as lines:
        next(lines)
        rows = [line.split("\t")[column : column + 2] for line in lines]
    lat, lon = np.array(rows, np.float64).T
    for threshold, max_level, leaves in cases:
        assert len(cells.build(lat, lon, threshold=threshold, max_level=max_level).leaves) == leaves


def test_mass_of_inner_nodes_lies_on_their_leaves_as_the_points_do():
    lat, lon = np.array([48.8, 48.9, 48.9, 51.5, -33.9]), np.array([2.3, 2.4, 2.4, -0.1, 151.2])
    partition = cells.build(lat, lon, threshold=2, max_level=9)
    leaf = cells.leaf(partition, lat, lon)
    inner = cells.ancestors(partition, partition.leaves[leaf[0]])[0]
    assert leaf[0] != leaf[1] and inner in cells.ancestors(partition, partition.leaves[leaf[3]])
    alone = partition.leaves[leaf[4]]
    found = cells.leaf_mass(partition, np.array([inner, alone]), np.array([0.8, 0.2]))
    assert found[leaf[4]] == 0.2 and found.sum() == pytest.approx(1)
    assert found[leaf[[0, 1, 3]]] == pytest.approx([0.2, 0.4, 0.2])
