"""Edge lists: what is in them, and the graphs that are drawn."""

import numpy as np
import pytest

from algorithmic.clrs.sparse import graphs
from fl_jax.core import errors


@pytest.mark.parametrize("kind", graphs.KINDS)
def test_drawn_graphs_are_simple_connected_and_repeatable(kind):
    one, two = (graphs.draw(np.random.default_rng(3), kind, 40) for _ in range(2))
    np.testing.assert_array_equal(one.pairs, two.pairs)
    assert np.all(one.pairs[:, 0] < one.pairs[:, 1]) and one.pairs.max() == 39
    assert len(np.unique(one.pairs, axis=0)) == len(one.pairs) < 40 * 8
    reach = np.eye(40, dtype=bool)
    for _ in range(40):
        for i, j in one.pairs:
            reach[i] |= reach[j]
            reach[j] |= reach[i]
    assert reach.all()
    assert np.all((one.weight > 0) & (one.weight <= 1))
    small = graphs.draw(np.random.default_rng(0), kind, 4, weighted=False)
    assert np.all(small.weight == 1)


def test_a_packed_batch_lists_both_directions_and_loops_in_order():
    rng = np.random.default_rng(0)
    each = [graphs.draw(rng, "erdos_renyi", n) for n in (5, 8)]
    packed = graphs.pack(each, edges=80)
    matrix = graphs.dense(packed, 8)
    for b, graph in enumerate(each):
        real = packed.real[:, b]
        senders, receivers = packed.senders[real, b], packed.receivers[real, b]
        assert real.sum() == 2 * len(graph.pairs) + graph.nodes
        order = receivers * 8 + senders
        assert np.all(np.diff(order) > 0)
        back = packed.reverse[real, b]
        np.testing.assert_array_equal(senders[back], receivers)
        np.testing.assert_array_equal(receivers[back], senders)
        np.testing.assert_array_equal(matrix[b], matrix[b].T)
        np.testing.assert_allclose(matrix[b][tuple(graph.pairs.T)], graph.weight)
        assert np.count_nonzero(matrix[b]) == 2 * len(graph.pairs)


def test_bad_graphs_are_one_sentence():
    rng = np.random.default_rng(0)
    with pytest.raises(errors.ConfigError, match="unknown kind of graph"):
        graphs.draw(rng, "star", 8)
    with pytest.raises(errors.ConfigError, match="at least 4 nodes"):
        graphs.draw(rng, "delaunay", 3)
    twice = graphs.Edges(3, np.array([[0, 1], [0, 1]]), np.ones(2, np.float32))
    with pytest.raises(errors.DataError, match="each pair once"):
        graphs.pack([twice])
    with pytest.raises(errors.DataError, match="room is for 3"):
        graphs.pack([graphs.draw(rng, "delaunay", 8)], edges=3)
