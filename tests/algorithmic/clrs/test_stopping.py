"""A head that ends a run: its loss, and the step at which outputs are read."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from algorithmic.clrs import lanes, net, samplers, stopping
from fl_jax.core import errors


def test_the_head_reads_real_nodes_and_the_graph():
    params = {"w": jnp.arange(1.0, 9)[:, None], "b": jnp.array([0.5])}
    h_t = jnp.stack([jnp.array([[1.0, 2, 50]] * 6), jnp.array([[0.0, -1, -50]] * 6)], axis=-1)
    graph = jnp.array([[1.0, 0], [2.0, 0]])
    mask = jnp.array([[True, True], [True, True], [False, False]])
    said = stopping.logit(params, h_t, graph, mask)
    np.testing.assert_allclose(said, [2 * 21 + 7 + 16 + 0.5, 0.5])


def test_the_loss_is_the_cross_entropy_of_live_steps():
    said = jnp.array([0.0, 2.0, -1.0, 7.0])
    last = jnp.array([True, True, False, True])
    total, count = stopping.tally(said, last, jnp.array([True, True, True, False]))
    expected = np.log(2) + np.log1p(np.exp(-2.0)) + np.log1p(np.exp(-1.0))
    assert (float(total), float(count)) == (pytest.approx(expected, rel=1e-5), 3)


def test_outputs_are_read_where_the_network_stops():
    config = net.Config(processor="mpnn", hidden=4, stop=True)
    group, key = net.Group.of(("minimum",)), jax.random.key(0)
    shared = net.init_shared(key, config)
    own = jax.tree.map(lambda v: v[0], net.init_tasks(key, group, config))
    table = jax.tree.map(lambda v: v[0], net.tables(group))
    runs = lanes.draw("minimum", group, key, 2, 5, 5, 5, samplers.Options())
    lane = lanes.whole(runs)  # four steps, all of which are needed

    def run(bias, last):
        mine = {**own, "stop": {"w": 0 * own["stop"]["w"], "b": jnp.full(1, bias)}}
        told = net.apply(shared, mine, table, lane._replace(last=last), config)
        free = net.apply(shared, mine, table, lane, config, decides=True)
        return told.logits.node, free.logits.node, free.steps

    compiled = jax.jit(run, compiler_options={"xla_backend_optimization_level": "0"})
    told, free, steps = compiled(-9.0, lane.last)
    np.testing.assert_array_equal(told, free)
    assert steps.tolist() == [4, 4]
    at_once = lane.last.at[0].set(True).at[1:].set(False)
    told, free, steps = compiled(9.0, at_once)
    np.testing.assert_array_equal(told, free)
    assert steps.tolist() == [1, 1]


def test_only_a_network_with_the_head_decides():
    with pytest.raises(errors.ConfigError, match="only a network with stop = True"):
        config = net.Config(processor="mpnn", hidden=4)
        group, key = net.Group.of(("minimum",)), jax.random.key(0)
        runs = lanes.draw("minimum", group, key, 2, 4, 4, 4, samplers.Options())
        own = jax.tree.map(lambda v: v[0], net.init_tasks(key, group, config))
        table = jax.tree.map(lambda v: v[0], net.tables(group))
        net.apply(net.init_shared(key, config), own, table, lanes.whole(runs), config, decides=True)
