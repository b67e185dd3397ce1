import jax
import numpy as np
import pytest

from algorithmic import neighbors
from algorithmic.neighbors import brute, buckets, ranking, tree, wide
from fl_jax.core import errors
from fl_jax.train import mesh as meshes


def oracle(queries, points, k):
    total = None
    for c in range(points.shape[1]):
        difference = queries[:, None, c] - points[None, :, c]
        square = difference * difference
        total = square if total is None else total + square
    order = np.argsort(total, axis=1, kind="stable")[:, :k]
    return np.sqrt(np.take_along_axis(total, order, axis=1)), order


def rows(kind, n, d, seed=0):
    rng = np.random.default_rng(seed)
    if kind == "random":
        return rng.random((n, d)).astype(np.float32)
    if kind == "clustered":
        return (rng.normal(size=(n, d)) * 10 ** rng.uniform(-4, 0, (n, 1))).astype(np.float32)
    return (np.round(rng.random((n, d)) * 4) / 4).astype(np.float32)  # tied


@pytest.mark.parametrize("kind", ["random", "clustered", "tied"])
@pytest.mark.parametrize("d", [3, 8])
def test_indices_and_distances_are_the_oracles_bit_for_bit(kind, d):
    points = rows(kind, 2500, d)
    queries = np.concatenate([points[:40], rows("random", 24, d, 1) * 2 - 0.5])
    index = tree.build(points) if d <= 4 else None
    near, at = neighbors.knn(queries, points, 7, index=index, threads=1)
    wanted, order = oracle(queries, points, 7)
    assert near.dtype == np.float32
    np.testing.assert_array_equal(near, wanted)
    np.testing.assert_array_equal(at, order)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["random", "clustered", "tied"])
@pytest.mark.parametrize("d", range(1, 9))
@pytest.mark.parametrize("k", [1, 20])
def test_all_dimensions(kind, d, k):
    points = rows(kind, 6000, d)
    queries = np.concatenate([points[:300], rows("random", 100, d, 1) * 2 - 0.5])
    index = tree.build(points) if d <= 4 else None
    near, at = neighbors.knn(queries, points, k, index=index)
    wanted, order = oracle(queries, points, k)
    np.testing.assert_array_equal(near, wanted)
    np.testing.assert_array_equal(at, order)


@pytest.mark.parametrize("kind", ["random", "clustered", "tied"])
def test_blocks_of_queries_are_exact_where_they_say_so(kind):
    points = rows(kind, 20000, 3)
    queries = np.concatenate([points[:900], rows("random", 124, 3, 1)])
    index = tree.build(points)
    assert index.near.shape[1] < index.low.shape[1]  # the lists do not hold everything
    near, at, sure = buckets.search(index, queries, 7, threads=1)
    wanted, order = oracle(queries, points, 7)
    np.testing.assert_array_equal(at[sure], order[sure])
    np.testing.assert_array_equal(np.sqrt(near[sure]), wanted[sure])
    assert (sure.mean() > 0.1) == (kind != "tied")  # with 125 places, the ties go on for ever
    if kind != "tied":  # who knows how far to look is certain
        known = buckets.search(index, queries, 7, within=near[:, -1], threads=2)
        assert known.certain.mean() >= sure.mean() > 0.5
        np.testing.assert_array_equal(known.at[known.certain], order[known.certain])


@pytest.mark.parametrize("k", [256, 257, 3000])
def test_many_neighbours(k):
    points, queries = rows("clustered", 20000, 3), rows("random", 12, 3, 1)
    near, at = neighbors.knn(queries, points, k)
    wanted, order = oracle(queries, points, k)
    np.testing.assert_array_equal(near, wanted)
    np.testing.assert_array_equal(at, order)


def test_queries_outside_go_through_the_whole_tree():
    points = rows("random", 20000, 3)
    queries = np.concatenate([points[:20] + np.float32(3), points[:20]])
    index = tree.build(points)
    sure = buckets.search(index, queries, 7, threads=1).certain
    assert not sure[:20].any() and sure[20:].all()
    _, order = oracle(queries, points, 7)
    for leaves, groups in wide.STEPS:
        found = wide.search(index, queries, 7, leaves, groups)
        assert found.certain[20:].all() or leaves < 384
        np.testing.assert_array_equal(found.at[found.certain], order[found.certain])
    np.testing.assert_array_equal(neighbors.knn(queries, points, 7, index=index)[1], order)


@pytest.mark.parametrize(("m", "d", "threads"), [(1, 1, 2), (37, 3, 1), (5000, 2, 3), (2049, 4, 2)])
def test_every_query_is_answered_once(monkeypatch, m, d, threads):
    index = tree.build(rows("clustered", 20000, d))
    asked = []
    nearest = ranking.nearest

    def noted(index, queries, leaves, lanes, *more):
        asked.append(queries.reshape(-1, d)[lanes])
        return nearest(index, queries, leaves, lanes, *more)

    monkeypatch.setattr(ranking, "nearest", noted)
    queries = rows("random", m, d, 1)
    buckets.search(index, queries, 3, threads=threads)
    order = lambda x: x[np.lexsort(x.T)]
    np.testing.assert_array_equal(order(np.concatenate(asked)), order(queries))


def test_points_over_devices_give_the_same():
    points, queries = rows("tied", 203, 5), rows("random", 11, 5, 1)
    mesh = meshes.MeshConfig(data=-1).make()
    near, at = neighbors.knn_sharded(queries, points, 6, mesh)
    wanted, order = oracle(queries, points, 6)
    np.testing.assert_array_equal(near, wanted)
    np.testing.assert_array_equal(at, order)


def test_tiles_keep_the_first_of_equals():
    points = np.zeros((50, 2), np.float32)
    _, at = brute.brute(points[:3], points, 9, np.int32(0), points_tile=8, queries_tile=2)
    np.testing.assert_array_equal(at, np.tile(np.arange(9), (3, 1)))


def test_the_same_shapes_compile_once():
    points, queries = rows("random", 2500, 3), rows("random", 256, 3, 1)
    index = tree.build(points)
    neighbors.knn(queries, points, 7, index=index, threads=1)
    size = ranking._least_of_places._cache_size()
    neighbors.knn(queries, points, 7, index=index, threads=1)
    assert ranking._least_of_places._cache_size() == size


@pytest.mark.parametrize("kind", ["random", "tied"])
@pytest.mark.parametrize("d", [2, 5])
def test_a_traced_search_is_the_oracles(kind, d):
    points, queries = rows(kind, 300, d), rows("random", 12, d, 1)
    search = jax.jit(lambda q, p: neighbors.knn_traced(q, p, 4))
    wanted, order = oracle(queries, points, 4)
    near, at = search(queries, points)
    np.testing.assert_array_equal(near, wanted)
    np.testing.assert_array_equal(at, order)
    inside = jax.jit(lambda q: neighbors.knn_traced(q, points, 4))  # the points a constant
    np.testing.assert_array_equal(inside(queries)[1], order)


def test_an_index_of_other_points_is_refused():
    points = rows("random", 100, 3)
    index = tree.build(points)
    for other in (points[:99], points[:, :2], points + np.float32(1)):
        with pytest.raises(errors.ConfigError, match="built on other points"):
            neighbors.knn(other[:4], other, 2, index=index)
    full = rows("random", 64, 2)  # no leaf has a place left
    assert neighbors.knn(full[:4], full, 1, index=tree.build(full))[1][:, 0].tolist() == [
        0,
        1,
        2,
        3,
    ]


def test_bad_input_is_a_sentence():
    good = rows("random", 10, 2)
    with pytest.raises(errors.ConfigError, match=r"k must lie in 1\.\.10"):
        neighbors.knn(good, good, 11)
    with pytest.raises(errors.ConfigError, match="one coordinate at least"):
        neighbors.knn(good[:, :0], good[:, :0], 1)
    with pytest.raises(errors.ConfigError, match="rows of the same features"):
        neighbors.knn(good[:, :1], good, 1)
    bad = good.copy()
    bad[3, 1] = np.nan
    with pytest.raises(errors.DataError, match=r"1 of the queries hold NaN.*row 3"):
        neighbors.knn(bad, good, 1)
    near, at = neighbors.knn(np.zeros((0, 2)), good, 2)
    assert near.shape == at.shape == (0, 2)


@pytest.mark.parametrize("size", [1e20, 1e-20])
def test_squares_beyond_float32_are_refused(size):
    points = np.array([[0.0], [2.0], [3.0]]) * size
    with pytest.raises(errors.DataError, match="take their logarithms"):
        neighbors.knn(points[2:] * 0.9, points, 1)
    assert neighbors.knn(points[:2] * 0, points * 0, 1)[1].tolist() == [[0], [0]]


@pytest.mark.parametrize("width", [2, 3, 5, 129, 130, 513])
def test_leaves_within_a_limit_are_counted_by_halving(width):
    rng = np.random.default_rng(0)
    far = np.sort(rng.random((50, width)).astype(np.float32), axis=1)
    far[:, -1] = 0  # of all others: does not count
    bucket = rng.integers(0, 50, 200)
    limit = (rng.random(200) * 1.2 - 0.1).astype(np.float32)
    wanted = (far[bucket, :-1] <= limit[:, None]).sum(axis=1)
    np.testing.assert_array_equal(buckets._within(far, bucket, limit), wanted)
