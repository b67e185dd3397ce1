"""Messages read in order are an LSTM over the senders, one after another."""

import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from algorithmic.clrs import pairs, processors, recurrent
from fl_jax.core import errors

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import direct

H, N, B, C = 4, 3, 2, 2
KEYS = jax.random.split(jax.random.key(0), 8)


def inputs():
    normal = lambda i, *shape: jax.random.normal(KEYS[i], shape)
    return {
        "lstm": recurrent.init(KEYS[0], H),
        "x": normal(1, C, N, N, B), "wx": normal(2, C, H),
        "sender": normal(3, H, N, B), "receiver": normal(4, H, N, B),
        "w1": normal(5, H, H), "w2": normal(6, H, H), "b1": jnp.ones(H), "b2": -jnp.ones(H),
    }  # fmt: skip


def fast(given, allowed):
    g = given
    return recurrent.messages(
        recurrent.prepare(g["lstm"], jnp.float32), g["x"], g["wx"], g["sender"], g["receiver"],
        pairs.weight(g["w1"]), g["b1"], pairs.weight(g["w2"]), g["b2"], allowed,
    )  # fmt: skip


def slow(g, nodes):
    """(h, nodes, B), of the first nodes alone."""
    edge = jnp.einsum("ch,cijb->ijbh", g["wx"], g["x"])
    turn = lambda v: jnp.moveaxis(v, 0, -1)  # (N, B, h)
    m = jax.nn.relu(turn(g["sender"])[:, None] + turn(g["receiver"])[None] + edge)
    m = jax.nn.relu(m @ g["w1"] + g["b1"]) @ g["w2"] + g["b2"]
    with jax.numpy_rank_promotion("allow"):
        out = direct.in_order(g["lstm"], m[:nodes, :nodes])
    return jnp.moveaxis(out, -1, 0)


def test_value_and_gradient_are_those_of_the_loop():
    given = inputs()
    weights = jax.random.normal(KEYS[7], (H, N, B))
    everyone = jnp.ones((N, 1, B), bool)
    one = jax.jit(jax.value_and_grad(lambda g: jnp.sum(weights * fast(g, everyone))))(given)
    with jax.numpy_rank_promotion("allow"):
        two = jax.jit(jax.value_and_grad(lambda g: jnp.sum(weights * slow(g, N))))(given)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5), one, two)


def test_nodes_that_are_not_there_say_nothing():
    given = inputs()
    present = (jnp.arange(N) < N - 1)[:, None, None] & jnp.ones((N, 1, B), bool)
    found = fast(given, present)[:, : N - 1]
    with jax.numpy_rank_promotion("allow"):
        np.testing.assert_allclose(found, slow(given, N - 1), rtol=1e-4, atol=1e-5)


def test_only_message_passing_reads_in_order():
    with pytest.raises(errors.ConfigError, match="gat adds up what it attends to"):
        processors.make("gat", aggregator="lstm")
    with pytest.raises(errors.ConfigError, match="unknown aggregator 'lstn'; did you mean 'lstm'"):
        processors.make("mpnn", aggregator="lstn")
