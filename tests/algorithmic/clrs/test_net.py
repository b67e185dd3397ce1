"""The fast network is the slow one: in value, in gradient, under padding and in chunks."""

import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from algorithmic.clrs import decoders, lanes, net, processors, samplers, training
from fl_jax.core import errors

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import direct

MODEL = net.Config(hidden=8, triplets=4)


def jit(f):
    """Compiled with little effort: these programs run once."""
    return jax.jit(f, compiler_options={"xla_backend_optimization_level": "0"})


def problem(name, companions=(), n=4, size=5, count=1, model=MODEL):
    """(shared, own, table, runs) of one task, padded in nodes and in channels."""
    group = net.Group.of((name, *companions))
    key = jax.random.key(7)
    shared = net.init_shared(key, model)
    own = jax.tree.map(lambda v: v[0], net.init_tasks(key, group, model))
    table = jax.tree.map(lambda v: np.asarray(v[0]), net.tables(group))
    options = samplers.Options(random_pos=True)
    room = 3
    runs = lanes.draw(name, group, key, count, n, size, room, options)
    return shared, own, table, runs._replace(length=jnp.minimum(runs.length, room))


# One task of every kind of probe: node and edge pointers, classes on nodes and on edges, masks on
# edges, scalars everywhere, graph probes.
@pytest.mark.parametrize(
    ("name", "companions"),
    [
        ("bfs", ("dfs",)),
        pytest.param("bridges", (), marks=pytest.mark.slow),
        pytest.param("matrix_chain_order", (), marks=pytest.mark.slow),
        pytest.param("lcs_length", ("heapsort",), marks=pytest.mark.slow),
    ],
)
def test_value_and_gradient_are_those_of_the_equations(name, companions):
    agree(name, companions, MODEL)


@pytest.mark.slow
@pytest.mark.parametrize(
    "option",
    [
        {"aggregator": "lstm"},
        {"history": "none"},
        {"history": "gated", "forget": 0.5},
        {"rebuild": 0.5},
        {"stop": True},
    ],
)
def test_what_goes_beyond_the_paper_is_what_its_equations_say(option):
    agree("bfs", (), net.Config(hidden=8, triplets=4, **option))


def agree(name, companions, model):
    shared, own, table, runs = problem(name, companions, model=model)
    n = 4
    lengths = [int(length) for length in runs.length]

    def fast(shared, own):
        return training.task_loss(
            shared, own, table, lanes.whole(runs), None, model=model, permutation=False
        )[0]

    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        slow = jax.value_and_grad(
            lambda s, o: direct.loss(s, o, table, runs, [n], lengths, model), (0, 1)
        )
        expected, expected_grads = jit(slow)(shared, own)
    value, grads = jit(jax.value_and_grad(fast, (0, 1)))(shared, own)
    assert float(value) == pytest.approx(float(expected), rel=2e-5)
    scale = max(float(jnp.max(jnp.abs(g), initial=0)) for g in jax.tree.leaves(expected_grads))
    for g, e in zip(jax.tree.leaves(grads), jax.tree.leaves(expected_grads), strict=True):
        np.testing.assert_allclose(g, e, atol=3e-5 * scale, rtol=2e-3)


def test_sinkhorn_is_doubly_stochastic_without_a_diagonal():
    x = jax.random.normal(jax.random.key(1), (3, 6, 6))
    mask = jnp.ones((3, 6)).at[2, 4:].set(0)
    s = jnp.exp(decoders.log_sinkhorn(x, mask, 50, 1.0))
    real = mask[:, :, None] * mask[:, None, :]
    inside = s * real
    np.testing.assert_allclose(jnp.sum(inside, 1), mask, atol=1e-5)
    np.testing.assert_allclose(jnp.sum(inside, 2), mask, atol=1e-3)
    assert float(jnp.max(jnp.diagonal(inside, axis1=1, axis2=2))) < 1e-6
    small = decoders.log_sinkhorn(x[2:, :4, :4], jnp.ones((1, 4)), 10, 0.1)
    padded = decoders.log_sinkhorn(x[2:], mask[2:], 10, 0.1)[:, :4, :4]
    np.testing.assert_allclose(small, padded, atol=1e-3)


def test_chunks_of_whole_trajectories_lose_what_whole_lanes_lose():
    """Short trajectories, packed: the same sums and counts as one per lane."""
    group = net.Group.of(("bellman_ford",))
    key = jax.random.key(2)
    shape = lanes.Shape(batch=2, size=6, steps=16, places=2, room=7)
    options = samplers.Options(p=(0.3,))
    runs = lanes.draw("bellman_ford", group, key, 4, 6, 6, 7, options)
    assert int(jnp.max(runs.length)) <= 7
    packed = lanes.chunks(runs, key, shape)
    shared = net.processor(MODEL).init(key)
    own = jax.tree.map(lambda v: v[0], net.init_tasks(key, group, MODEL))
    table = jax.tree.map(lambda v: v[0], net.tables(group))
    run = jax.jit(lambda lane: net.run(shared, own, table, lane, MODEL))
    (_, *one), (_, *two) = run(lanes.whole(runs)), run(packed)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), one, two)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"processor": "mpn"}, "unknown processor 'mpn'; did you mean 'mpnn'"),
        ({"aggregator": "mean"}, "unknown aggregator 'mean'"),
    ],
)
def test_names_that_are_not_known_are_refused_at_once(given, said):
    with pytest.raises(errors.ConfigError, match=said):
        net.Config(**given)


def test_the_gate_starts_nearly_closed():
    params = net.processor(MODEL).init(jax.random.key(0))
    assert float(jnp.mean(jax.nn.sigmoid(params["gate"]["b"]))) == pytest.approx(0.0474, abs=1e-3)


@pytest.mark.parametrize("name", processors.NAMES)
def test_every_processor_is_equivariant_and_blind_to_padding(name):
    processor = processors.make(name, hidden=8, triplets=4)
    key = jax.random.key(3)
    w, g = jax.random.normal(key, (3, 8)), jax.random.normal(key, (8, 2))
    prepared = processor.prepare(processor.init(key), processors.Edges(w, jnp.zeros(8)))
    z, x = jax.random.normal(key, (16, 5, 2)), jax.random.normal(key, (3, 5, 5, 2))
    adjacency = (jax.random.uniform(key, (5, 5, 2)) < 0.5) | jnp.eye(5, dtype=bool)[:, :, None]
    mask = jnp.ones((5, 2), bool)
    apply = lambda z, x, mask, adjacency: processor.apply(prepared, z, x, g, mask, adjacency)

    out, t = apply(z, x, mask, adjacency)
    order = jnp.asarray([3, 0, 4, 1, 2])
    turn = lambda v: v[..., order, :, :][..., order, :]
    out2, t2 = apply(z[:, order], turn(x), mask, turn(adjacency))
    np.testing.assert_allclose(out[:, order], out2, atol=1e-5)
    if t is not None:
        np.testing.assert_allclose(turn(t), t2, atol=1e-5)

    cut, _ = apply(z[:, :4], x[:, :4, :4], mask[:4], adjacency[:4, :4])
    held, _ = apply(z, x, mask.at[4].set(False), adjacency)
    np.testing.assert_allclose(cut, held[:, :4], atol=1e-5)
