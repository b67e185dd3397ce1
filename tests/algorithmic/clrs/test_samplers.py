"""Random inputs have the distribution that the reference draws from."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from algorithmic.clrs import samplers, specs
from fl_jax.core import errors


def draw(name, n, count=400, size=None, **options):
    config = samplers.options(name, n, **options)
    run = jax.jit(lambda k: samplers.draw(name, k, count, n, config, size=size))
    compact, nodes = run(jax.random.key(5))
    return jax.tree.map(np.asarray, compact), np.asarray(nodes)


def test_an_undirected_edge_has_p_squared_and_a_self_loop_p():
    x, _ = draw("mst_kruskal", 12, size=14, p=0.5)
    A = x["A"][:, :12, :12]
    off = ~np.eye(12, dtype=bool)
    np.testing.assert_array_equal(A, np.swapaxes(A, 1, 2))
    assert np.mean(A[:, off] > 0) == pytest.approx(0.25, abs=0.01)
    assert np.mean(np.diagonal(A, axis1=1, axis2=2) > 0) == pytest.approx(0.5, abs=0.03)
    assert A[A > 0].min() >= np.sqrt(1e-3) and not np.any(x["A"][:, 12:])


def test_an_acyclic_graph_has_p_in_one_direction():
    x, _ = draw("topological_sort", 10, p=0.5)
    reach = x["A"] != 0
    assert np.mean(reach) == pytest.approx(0.5 * 45 / 100, abs=0.01)
    for _ in range(4):
        reach = reach | (reach @ reach)
    assert not np.any(np.diagonal(reach, axis1=1, axis2=2))


def test_half_of_the_segments_intersect():
    x, n = draw("segments_intersect", 4)
    side = lambda a, b, c: (
        (x["y"][:, c] - x["y"][:, a]) * (x["x"][:, b] - x["x"][:, a])
        > (x["y"][:, b] - x["y"][:, a]) * (x["x"][:, c] - x["x"][:, a])
    )
    meet = (side(0, 2, 3) != side(1, 2, 3)) & (side(0, 1, 2) != side(0, 1, 3))
    assert np.mean(meet) == pytest.approx(0.5, abs=0.08)
    assert n.tolist() == [4] * 400


def test_communities_are_joined_in_one_direction_only():
    x, _ = draw("strongly_connected_components", 8, p=1.0)
    edge = x["A"] != 0
    mutual = edge & np.swapaxes(edge, 1, 2)
    # With p = 1 every community of two is complete, but for a coin in a hundred.
    assert np.mean(np.sum(mutual, axis=(1, 2))) == pytest.approx(16, abs=1.0)


def test_a_needle_is_in_its_haystack_and_positions_restart():
    x, _ = draw("kmp_matcher", 20, needle=-8, random_pos=True)
    lengths = np.sum(x["string"], axis=1)
    assert set(lengths) == set(range(1, 9))
    for letters, length, pos in zip(x["key"], lengths, x["pos"], strict=True):
        text = "".join(map(str, letters))
        assert text[20 - length :] in text[: 20 - length]
        split = 20 - length
        assert np.all(np.diff(pos[:split]) >= 0) and np.all(np.diff(pos[split:]) >= 0)


def test_weights_of_a_tree_add_up_to_one_over_one_node_more():
    x, n = draw("optimal_bst", 6, size=9)
    np.testing.assert_allclose(x["p"].sum(1) + x["q"].sum(1), 1, rtol=1e-5)
    assert n.tolist() == [7] * 400
    assert np.all(x["q"][:, :7] > 0) and not np.any(x["q"][:, 7:]) and not np.any(x["p"][:, 6:])


def test_a_sample_depends_on_its_number_alone():
    config = samplers.Options()
    few, _ = samplers.draw("minimum", jax.random.key(0), 3, 8, config)
    many, _ = samplers.draw("minimum", jax.random.key(0), 7, 8, config)
    np.testing.assert_array_equal(few["key"], many["key"][:3])


def test_training_settings_are_the_papers():
    assert samplers.training("bfs").p == pytest.approx(np.arange(1, 10) / 10)
    assert samplers.training("bridges").p == pytest.approx(np.arange(1, 10) / 20)
    assert samplers.training("kmp_matcher") == samplers.Options(needle=-8, random_pos=True)
    assert samplers.training("minimum").p is None
    assert samplers.training("minimum", 0.3).close == 0.3
    assert samplers.training("segments_intersect", 0.3) == samplers.training("segments_intersect")


@pytest.mark.parametrize("name", ["minimum", "binary_search"])
def test_samples_drawn_close_together_are_the_others_shrunk(name):
    plain, _ = draw(name, 12, size=14, random_pos=True)
    close, _ = draw(name, 12, size=14, random_pos=True, close=0.4)
    for probe in ("key", "pos"):
        x, y = plain[probe][:, :12], close[probe][:, :12]
        assert y.min() >= 0 and y.max() <= 1 and not close[probe][:, 12:].any()
        ratio = np.ptp(y, axis=1) / np.ptp(x, axis=1)
        shrunk = y.min(axis=1)[:, None] + ratio[:, None] * (x - x.min(axis=1)[:, None])
        np.testing.assert_allclose(y, shrunk, atol=1e-6)
        assert np.mean(ratio < 1 - 1e-6) == pytest.approx(0.4, abs=0.07)
        same = np.abs(ratio - 1) < 1e-6
        np.testing.assert_allclose(x[same], y[same], atol=1e-6)
    if name == "binary_search":
        found = lambda drawn: np.sum(drawn["key"][:, :12] < drawn["target"][:, None], axis=1)
        assert np.mean(found(plain) == found(close)) > 0.99  # but for ties by rounding


@pytest.mark.parametrize(
    ("name", "length", "options", "words"),
    [
        ("minimum", 16, {"close": 1.5}, "lies in [0, 1]"),
        ("bfs", 16, {"q": 1}, "unknown sampler option 'q'"),
        ("bfs", 16, {"p": 1.5}, "lie in [0, 1]"),
        ("strongly_connected_components", 3, {}, "at least 4 nodes"),
        ("kmp_matcher", 16, {"needle": 8}, "does not fit"),
        ("kmp_matcher", 16, {"needle": 0}, "does not fit"),
        ("kmp_matcher", 16, {"needle": 1.5}, "letters of the needle must be a whole number"),
        ("quick_sort", 16, {}, "did you mean 'quicksort'"),
    ],
)
def test_bad_options_are_refused_in_a_sentence(name, length, options, words):
    with pytest.raises(errors.ConfigError) as caught:
        samplers.options(name, length, **options)
    assert words in str(caught.value)


def test_every_algorithm_can_be_drawn():
    shapes = jax.eval_shape(
        lambda k: [
            samplers.draw(name, k, 2, jnp.int32(9), samplers.training(name), size=12)[0]
            for name in specs.ALGORITHMS
            if name not in specs.MATCHERS
        ],
        jax.random.key(0),
    )
    assert len(shapes) == 28
