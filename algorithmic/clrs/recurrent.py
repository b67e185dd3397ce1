"""An aggregator that reads messages in the order of the nodes [Xu and Veličković 2024, RNAR,
arXiv 2409.07154].

A maximum forgets who said what; an LSTM over the senders 1, 2, ..., n does not:

    m_ij = W2 relu(W1 relu(sender_i + receiver_j + wx x_ij) + b1) + b2        the messages
    (i, f, g, o) = W [m_ij, s_j] + b,  c_j <- sigmoid(f) c_j + sigmoid(i) tanh(g),
    s_j <- sigmoid(o) tanh(c_j)                                               for i = 1 .. n

and s_j stands for the maximum. Nodes that are not there, and pairs that do not speak, leave the
state as it is. The order of the nodes matters: permuted inputs give other results, by intention.
Only node messages are read so; triplets keep their maximum.
"""

import jax
import jax.numpy as jnp

from algorithmic.clrs import initial, pairs
from fl_jax.core.types import Array, Float, Key, PyTree


def init(key: Key[Array, ""], hidden: int) -> PyTree:
    """Weights of the LSTM; its forget gate starts open (bias 1) [Jozefowicz et al. 2015]."""
    params = initial.linear(key, 2 * hidden, 4 * hidden)
    params["b"] = params["b"].at[hidden : 2 * hidden].set(1.0)
    return params


def prepare(params: PyTree, dtype) -> tuple[pairs.Weight, Array]:
    """The weights for `messages`; products take operands of `dtype`."""
    return pairs.weight(params["w"], dtype), params["b"]


def messages(
    lstm: tuple[pairs.Weight, Float[Array, " g"]],
    x: Float[Array, "C N N B"],
    wx: Float[Array, "C h"],
    sender: Float[Array, "h N B"],
    receiver: Float[Array, "h N B"],
    w1: pairs.Weight,
    b1: Float[Array, " h"],
    w2: pairs.Weight,
    b2: Float[Array, " h"],
    allowed: Array,
) -> Float[Array, "h N B"]:
    """The state after all senders; arguments as in `pairs.messages`, and the LSTM before them."""
    hidden, nodes, batch = sender.shape
    column = lambda b: b[:, None, None]
    weights, bias = lstm

    @jax.checkpoint
    def read(state, item):
        x_i, sender_i, speaks = item  # (C, N, B), (h, B), (1 or N, B)
        edge = jnp.einsum("ch,cnb->hnb", wx, x_i)
        m = jax.nn.relu(sender_i[:, None] + receiver + edge)
        m = jax.nn.relu(pairs.product(w1, m) + column(b1))
        m = pairs.product(w2, m) + column(b2)
        cell, shown = state
        gates = pairs.product(weights, jnp.concatenate([m, shown])) + column(bias)
        enter, keep, new, leave = jnp.split(gates, 4)
        after = jax.nn.sigmoid(keep) * cell + jax.nn.sigmoid(enter) * jnp.tanh(new)
        after = after, jax.nn.sigmoid(leave) * jnp.tanh(after)
        return jax.tree.map(lambda a, b: jnp.where(speaks[None], a, b), after, state), None

    start = jnp.zeros((hidden, nodes, batch)), jnp.zeros((hidden, nodes, batch))
    items = jnp.moveaxis(x, 1, 0), jnp.moveaxis(sender, 1, 0), allowed
    (_, shown), _ = jax.lax.scan(read, start, items)
    return shown
