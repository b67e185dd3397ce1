"""Runs on sparse graphs against plain searches of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.sparse import csgraph

from algorithmic.clrs import longest, specs
from algorithmic.clrs.sparse import graphs, tasks
from fl_jax.core import errors

RNG = np.random.default_rng(2)
DRAWN = [graphs.draw(RNG, "erdos_renyi", 9), graphs.draw(RNG, "delaunay", 12)]
GRAPH = graphs.pack(DRAWN)
MATRIX = graphs.dense(GRAPH, 12)


def batch(name, room=1):
    """Compiled with little effort: these programs run once."""
    draw = jax.jit(
        lambda g, m: tasks.draw(name, jax.random.key(1), g, m, room),
        compiler_options={"xla_backend_optimization_level": "0"},
    )
    return jax.device_get(draw(jax.tree.map(jnp.asarray, GRAPH), jnp.asarray(MATRIX)))


@pytest.mark.parametrize("name", ["bfs", "dijkstra", "eccentricity"])
def test_paths_are_shortest(name):
    found = batch(name)
    source = np.argmax(found.inputs.node[1], axis=0)
    hops = name != "dijkstra"
    for b, graph in enumerate(DRAWN):
        matrix = MATRIX[b, : graph.nodes, : graph.nodes]
        far = csgraph.dijkstra(matrix, indices=source[b], unweighted=hops)
        if name == "eccentricity":
            assert float(found.outputs.graph[0, b]) == far.max() == int(found.length[b]) - 1
            continue
        parent = np.asarray(found.outputs.pointer[0, : graph.nodes, b])
        assert parent[source[b]] == source[b]
        others = np.arange(graph.nodes) != source[b]
        edge = np.ones(graph.nodes) if hops else matrix[parent, np.arange(graph.nodes)]
        np.testing.assert_allclose(far[others], (far[parent] + edge)[others], rtol=1e-5)


def test_a_set_is_independent_and_maximal_and_the_greedy_one():
    found = batch("mis", 6)
    for b, graph in enumerate(DRAWN):
        chosen = np.zeros(graph.nodes, bool)
        near = MATRIX[b, : graph.nodes, : graph.nodes] != 0
        for i in np.argsort(found.inputs.node[1, : graph.nodes, b]):
            chosen[i] = not np.any(near[i] & chosen)
        np.testing.assert_array_equal(found.outputs.node[0, : graph.nodes, b] > 0, chosen)
        last = int(found.length[b]) - 1
        assert not np.any((found.hints.node[last, 0, : graph.nodes, b] > 0) & ~chosen)


@pytest.mark.parametrize("name", ["dfs", "mst_prim"])
def test_pointers_lie_on_edges(name):
    found = batch(name, 4)
    graph = jax.tree.map(jnp.asarray, GRAPH)
    on = tasks.pointing(jnp.asarray(found.outputs.pointer), graph)
    assert np.asarray(jnp.sum(on, axis=(0, 1))).tolist() == [9, 12]
    for k in range(4):
        pointer = jnp.asarray(found.hints.pointer[k])
        counts = jnp.sum(tasks.pointing(pointer, graph), axis=1)
        assert np.all(np.asarray(counts) == np.asarray([9, 12]))
    assert found.length.tolist() == ([27, 36] if name == "dfs" else [10, 13])
    assert longest(name, 12) >= int(found.length[1])


def test_the_tasks_are_salsas():
    assert set(specs.SALSA) - set(specs.ALGORITHMS) == set(specs.MORE)
    with pytest.raises(errors.ConfigError, match="unknown sparse task 'bubble_sort'"):
        batch("bubble_sort")
