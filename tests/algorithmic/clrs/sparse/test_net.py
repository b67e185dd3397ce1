"""The network on edge lists is the dense one: in its processors, on complete graphs as a whole."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from algorithmic.clrs import lanes, losses, net, training
from algorithmic.clrs import processors as dense_processors
from algorithmic.clrs.sparse import evaluate, graphs, processors, segments, tasks
from algorithmic.clrs.sparse import net as sparse
from algorithmic.clrs.traces import MACHINES, machine
from fl_jax.core import errors

HIDDEN = 8
KEY = jax.random.key(5)


def jit(f):
    """Compiled with little effort: these programs run once."""
    return jax.jit(f, compiler_options={"xla_backend_optimization_level": "0"})


def batch_of(name, drawn, room, size=None, edges=None):
    packed = graphs.pack(drawn, edges)
    size = size or max(g.nodes for g in drawn)
    matrix = jnp.asarray(graphs.dense(packed, size))
    draw = jit(lambda g, m: tasks.draw(name, KEY, g, m, room, random_pos=True))
    return draw(jax.tree.map(jnp.asarray, packed), matrix)


@pytest.mark.parametrize("name", ["pgn", "gmpnn", "gat", "gatv2"])
def test_a_processor_computes_what_the_dense_one_does(name):
    drawn = [graphs.draw(np.random.default_rng(0), "erdos_renyi", n) for n in (5, 6)]
    graph = jax.tree.map(jnp.asarray, graphs.pack(drawn, edges=40))
    near = np.asarray(graphs.dense(graph, 6) != 0).transpose(1, 2, 0)
    near = jnp.asarray(near | np.eye(6, dtype=bool)[:, :, None])
    mask = jnp.arange(6)[:, None] < graph.nodes[None]
    z, g = jax.random.normal(KEY, (16, 6, 2)), jax.random.normal(KEY, (8, 2))
    x = jax.random.normal(KEY, (3, 6, 6, 2))
    on = jnp.stack([x[:, graph.senders[:, b], graph.receivers[:, b], b] for b in range(2)], axis=-1)
    # The dense one with a gate hears everybody: let it hear neighbours.
    gated = name == "gmpnn"
    dense = dense_processors.make(name, hidden=HIDDEN)
    edges = dense_processors.Edges(jax.random.normal(KEY, (3, 8)), jnp.ones(8))
    params = dense.init(KEY)
    ours = processors.make(name, hidden=HIDDEN)
    if gated:  # on a complete graph, then
        full = [_complete(n) for n in (6, 6)]
        graph = jax.tree.map(jnp.asarray, graphs.pack(full))
        on = jnp.stack([x[:, graph.senders[:, b], graph.receivers[:, b], b] for b in range(2)], -1)
        mask = jnp.ones((6, 2), bool)

    def slow(params, z):
        out, _ = dense.apply(dense.prepare(params, edges), z, x, g, mask, near)
        return jnp.sum(jnp.where(mask, out, 0.0) ** 2), out

    def fast(params, z):
        out = ours.apply(ours.prepare(params, edges), z, on, g, processors.union(graph))
        return jnp.sum(jnp.where(mask, out, 0.0) ** 2), out

    (_, expected), grads = jit(jax.value_and_grad(slow, (0, 1), has_aux=True))(params, z)
    (_, found), ours_grads = jit(jax.value_and_grad(fast, (0, 1), has_aux=True))(params, z)
    np.testing.assert_allclose(jnp.where(mask, found, 0), jnp.where(mask, expected, 0), atol=2e-5)
    for a, b in zip(jax.tree.leaves(ours_grads), jax.tree.leaves(grads), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-4, rtol=1e-3)


def _complete(n):
    i, j = np.triu_indices(n, 1)
    weight = np.random.default_rng(n).random(len(i)).astype(np.float32)
    return graphs.Edges(n, np.stack([i, j], 1), weight)


@pytest.mark.parametrize(
    "name", ["bfs"] + [pytest.param(n, marks=pytest.mark.slow) for n in ("dijkstra", "dfs")]
)
def test_on_complete_graphs_the_whole_network_is_the_dense_one(name):
    room, n = (3, 4) if name == "bfs" else (5, 5)
    batch = batch_of(name, [_complete(n)], room)
    config = sparse.Config(processor="gmpnn", hidden=HIDDEN)
    params = sparse.init(KEY, name, config)
    group = net.Group.of((name,))
    matrix = jnp.asarray(graphs.dense(graphs.pack([_complete(n)]), n))
    if not tasks.weighted(name):
        matrix = (matrix != 0).astype(jnp.float32)
    compact = {"A": matrix, "pos": batch.inputs.node[0].T}
    if name != "dfs":
        compact["s"] = jnp.argmax(batch.inputs.node[1], axis=0).astype(jnp.int32)
    hints, outputs, length = machine.run_batch(MACHINES[name], compact, batch.graph.nodes, room)
    runs = lanes.channels(name, group, compact, batch.graph.nodes, hints, outputs, length, n)
    model = net.Config(processor="gmpnn", hidden=HIDDEN)
    table = jax.tree.map(lambda v: v[0], net.tables(group))

    def slow(params):
        return training.task_loss(
            *params, table, lanes.whole(runs), None, model=model, permutation=False
        )[0]

    def fast(params):
        found = sparse.run(params, name, batch, config)
        return losses.mean(found.outputs) + losses.mean(found.hints)

    # A run longer than what is kept is read after the last step kept.
    runs = runs._replace(length=jnp.minimum(runs.length, room))
    if name == "bfs":  # the value alone, for speed: the gradient of what differs is held above
        assert float(jit(fast)(params)) == pytest.approx(float(jit(slow)(params)), rel=1e-4)
        return
    expected, grads = jit(jax.value_and_grad(slow))(params)
    found, ours = jit(jax.value_and_grad(fast))(params)
    assert float(found) == pytest.approx(float(expected), rel=1e-4)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(grads), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4, rtol=5e-3)


def test_a_graph_is_blind_to_its_neighbours_and_padding_and_the_test_ends_where_training_does():
    name, config = "bfs", sparse.Config(hidden=HIDDEN)
    rng = np.random.default_rng(1)
    one, two = (graphs.draw(rng, "small_world", n) for n in (6, 9))
    params = sparse.init(KEY, name, config)
    both = batch_of(name, [one, two], 10, edges=70)
    alone = batch_of(name, [one], 10)
    logits = jit(lambda b: sparse.test(params, name, b, config).logits.pointer)
    found, expected = logits(both), logits(alone)
    count = expected.shape[1]
    np.testing.assert_allclose(found[:, :count, :1], expected, atol=1e-4)
    trained = jit(lambda b: sparse.run(params, name, b, config).logits.pointer)(both)
    np.testing.assert_allclose(found, trained, atol=1e-5)


def test_right_answers_are_right_and_one_wrong_node_spoils_a_graph():
    drawn = [graphs.draw(np.random.default_rng(1), "delaunay", n) for n in (6, 9)]
    batch = batch_of("bfs", drawn, 1)
    on = tasks.pointing(batch.outputs.pointer, batch.graph).astype(jnp.float32)
    logits = net.Values(None, None, jnp.zeros((0, 2)), on, None)
    score = lambda v: evaluate.right("bfs", logits._replace(pointer=v), batch)
    whole = score(on)
    assert whole.nodes.tolist() == [6, 9] and whole.whole.tolist() == [1, 1]
    wrong = score(on.at[0, 0, 0].set(2 - 2 * on[0, 0, 0] - 1))
    assert wrong.whole[1] == 1 and wrong.nodes[0] >= 5
    batch = batch_of("eccentricity", drawn, 1)
    logits = net.Values(None, None, batch.outputs.graph + jnp.array([[0.3, 0.7]]), None, None)
    assert evaluate.right("eccentricity", logits, batch).whole.tolist() == [1, 0]


def test_memory_grows_with_edges_not_with_pairs():
    config = sparse.Config(hidden=HIDDEN)
    params = jax.eval_shape(lambda: sparse.init(KEY, "dijkstra", config))

    def largest(n):
        drawn = graphs.draw(np.random.default_rng(0), "small_world", n)
        graph = jax.tree.map(jnp.asarray, graphs.pack([drawn], edges=7 * n))
        matrix = jax.ShapeDtypeStruct((1, n, n), jnp.float32)
        batch = jax.eval_shape(lambda m: tasks.draw("dijkstra", KEY, graph, m, 1), matrix)
        program = jit(
            lambda p, b: evaluate.right("dijkstra", sparse.test(p, "dijkstra", b, config).logits, b)
        ).lower(params, batch)
        return program.compile().memory_analysis().temp_size_in_bytes

    assert largest(1600) < 1600 * 7 * 8 * 4 * 30 < 1600 * 1600 * 8 * 4


def test_segments_against_loops():
    m = jax.random.normal(KEY, (7, 2))
    node = jnp.asarray([0, 0, 2, 2, 2, 0, 1])
    real = jnp.asarray([1, 1, 1, 1, 1, 1, 0], bool)
    expected = np.full((3, 2), -1e6, np.float32)
    summed = np.zeros((3, 2), np.float32)
    for k in range(6):
        expected[node[k]] = np.maximum(expected[node[k]], m[k])
        summed[node[k]] += m[k]
    np.testing.assert_allclose(segments.maximum(m, node, real, 3), expected)
    np.testing.assert_allclose(segments.total(m, node, real, 3), summed, rtol=1e-6)
    shares = jnp.exp(segments.log_softmax(m, node, real, 3))
    np.testing.assert_allclose(segments.total(shares, node, real, 3)[0::2], 1, rtol=1e-6)


def test_unknown_names_are_one_sentence():
    with pytest.raises(errors.ConfigError, match="unknown sparse processor"):
        processors.make("triplet_mpnn")
    with pytest.raises(errors.ConfigError, match="unknown reduction"):
        processors.make("pgn", reduction="mean")
    with pytest.raises(errors.ConfigError, match="unknown sparse task"):
        sparse.init(KEY, "quicksort", sparse.Config())
