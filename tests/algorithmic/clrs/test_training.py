"""The update of many tasks: it learns, leaves out a task that is not finite, refuses nonsense."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from algorithmic.clrs import net, training
from fl_jax.core import errors
from fl_jax.train import cohort, optimizer
from fl_jax.train import mesh as meshes

MODEL = net.Config(hidden=8, triplets=4)
CONFIG = training.Training(tasks=("minimum", "binary_search"), batch=2, steps=4, lengths=(4,))


def test_a_task_that_is_not_finite_is_left_out_and_counted():
    key = jax.random.key(0)
    state = training.init(key, MODEL, CONFIG)
    (lane,) = quick(lambda k: training.batch(k, CONFIG))(key)
    step = quick(training.make(MODEL, CONFIG))
    good, info = step(state, (lane,), key)
    assert bool(jnp.all(info.finite[0])) and good.skipped[0].tolist() == [0, 0]

    broken = lane._replace(inputs=lane.inputs._replace(node=lane.inputs.node.at[1].set(jnp.nan)))
    bad, info = step(state, (broken,), key)
    assert info.finite[0].tolist() == [True, False] and bad.skipped[0].tolist() == [0, 1]
    first, second = (lambda tree, i=i: jax.tree.leaves(jax.tree.map(lambda v: v[i], tree))
                     for i in (0, 1))  # fmt: skip
    for a, b in zip(first(good.own[0]), first(bad.own[0]), strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(second(state.own[0]), second(bad.own[0]), strict=True):
        np.testing.assert_array_equal(a, b)
    assert all(bool(jnp.all(jnp.isfinite(v))) for v in jax.tree.leaves(bad.shared))

    none = lane._replace(inputs=jax.tree.map(lambda v: v * jnp.nan if v.dtype == jnp.float32 else v,
                                             lane.inputs))  # fmt: skip
    same, _ = step(state, (none,), key)
    jax.tree.map(np.testing.assert_array_equal, same.shared, state.shared)
    assert int(same.step) == 0 and int(same.in_a_row) == 1

    losses = []
    for _ in range(30):
        state, info = step(state, (lane,), key)
        losses.append(float(jnp.sum(info.loss[0])))
    assert losses[-1] < 0.97 * losses[0]  # eight channels, thirty steps: it moves
    assert step._cache_size() == 1


def test_tasks_are_grouped_by_what_they_need():
    groups = training.groups(training.Training())
    assert sorted(n for g in groups for n in g.names) == sorted(training.Training().tasks)
    assert len(groups) == 6
    assert all(len({training.size(n, training.Training()) for n in g.names}) == 1 for g in groups)


def test_tasks_that_are_alike_share_a_trace_and_small_sizes_have_their_own():
    tasks = ("bfs", "bellman_ford", "minimum", "binary_search", "segments_intersect")
    config = training.Training(tasks=tasks, batch=2, grouping="alike")
    names = [g.names for g in training.groups(config)]
    assert names == [("bfs", "bellman_ford"), ("minimum",), ("binary_search",),
                     ("segments_intersect",)]  # fmt: skip
    shapes = jax.eval_shape(lambda k, n: training.batch(k, config, n, 7), jax.random.key(0), 4)
    assert [lane.inputs.node.shape[3] for lane in shapes] == [7, 7, 7, 4]
    assert [lane.first.shape[1] for lane in shapes] == [8, 8, 4, 4]


def test_smaller_graphs_have_as_many_pairs_of_nodes():
    config = training.Training(("bfs", "segments_intersect"), batch=2, even=True)
    lanes = lambda name: training.shape(name, config).batch
    assert lanes("bfs") == 2 and lanes("segments_intersect") == 2 * 16**2 // 4**2
    shapes = jax.eval_shape(lambda key: training.batch(key, config), jax.random.key(0))
    drawn = dict(zip((g.names[0] for g in training.groups(config)), shapes, strict=True))
    assert drawn["segments_intersect"].nodes.shape[-1] == 32


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tasks": ("bfs", "bfs")}, "different algorithms"),
        ({"tasks": ("bsf",)}, "did you mean 'bfs'"),
        ({"tasks": ("mis",)}, "sparse graphs alone"),
        ({"lengths": (1,)}, "at least 2 nodes"),
        ({"batch": 0}, "batch must be above 0"),
        ({"plan": "loop"}, "unknown plan"),
        ({"update": "never"}, "unknown update"),
        ({"grouping": "each"}, "unknown grouping"),
    ],
)
def test_settings_that_cannot_work_are_refused(change, words):
    with pytest.raises(errors.ConfigError, match=words):
        training.Training(**{"tasks": ("minimum",), **change})


# Plain descent: Adam makes a step of a gradient that is nothing but rounding.
TINY = training.Training(
    tasks=("minimum",), batch=8, steps=4, lengths=(4,), optimizer=optimizer.Optimizer("sgd", 0.1)
)


def quick(f, **how):
    return jax.jit(f, compiler_options={"xla_backend_optimization_level": "0"}, **how)


@pytest.fixture(scope="module")
def alone():
    """Three seeds one after another, two rounds each: (states after, losses by seed and round)."""
    step = quick(training.draw_and_step(MODEL, TINY))
    ends, losses = [], []
    for seed in range(3):
        key, some = jax.random.key(seed), []
        state = training.init(key, MODEL, TINY)
        for i in range(2):
            state, info = step(state, jax.random.fold_in(key, i))
            some.append(info.loss[0])
        ends.append(state)
        losses.append(jnp.stack(some))
    return jax.tree.map(lambda *v: jnp.stack(v), *ends), jnp.stack(losses)


def close(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5), a, b)


@pytest.mark.parametrize(
    ("plan", "devices"),
    [
        pytest.param("vmap", 1, marks=pytest.mark.slow),
        ("chunk:2", 2),  # side by side and over devices in one
        pytest.param("scan", 8, marks=pytest.mark.slow),
    ],
)
def test_seeds_together_are_seeds_alone_however_they_run(alone, plan, devices):
    mesh = meshes.MeshConfig(clients=-1).make(jax.devices()[:devices]) if devices > 1 else None
    step = training.draw_and_step(MODEL, TINY)
    step = quick(training.together(step, cohort.Plan.parse(plan), mesh))
    keys = jnp.stack([jax.random.key(seed) for seed in range(3)])
    states = jax.vmap(lambda key: training.init(key, MODEL, TINY))(keys)
    losses = []
    for i in range(2):
        states, info = step(states, jax.vmap(lambda k, i=i: jax.random.fold_in(k, i))(keys))
        losses.append(info.loss[0])
    close((states, jnp.stack(losses, axis=1)), alone)


def test_a_batch_over_devices_is_the_batch_on_one(alone):
    mesh = meshes.MeshConfig(data=8).make()
    step = training.draw_and_step(MODEL, TINY, mesh)
    step = quick(step, out_shardings=meshes.sharding(mesh))
    key = jax.random.key(0)
    state = meshes.replicate(mesh, training.init(key, MODEL, TINY))
    for i in range(2):
        state, info = step(state, meshes.replicate(mesh, jax.random.fold_in(key, i)))
    states, losses = jax.tree.map(lambda v: v[0], alone)
    close((state, info.loss[0]), (states, losses[1]))
    text = step.lower(state, key).compile().as_text()
    assert "all-reduce" in text  # it is shared out, not computed by each


def test_a_batch_that_devices_cannot_share_is_refused():
    mesh = meshes.MeshConfig(data=8).make()
    uneven = training.Training(tasks=("minimum",), batch=6, lengths=(4,))
    with pytest.raises(errors.ConfigError, match="shared evenly by 8 devices"):
        training.draw_and_step(MODEL, uneven, mesh)
