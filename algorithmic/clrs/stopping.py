"""A network that says itself when an algorithm has ended [Veličković et al. 2020, "Neural
Execution of Graph Algorithms", 3].

The benchmark tells the network how many steps to take, at test too. Here a head of each task reads

    p_t = sigmoid(w [max_i h_t,i , g_t] + b),   h_t = [encoding, state before, state after]

after every step; it is trained with the cross-entropy of "this was the last step", and at test the
output is read after the first step with p_t > 1/2. Scores under it are reported beside those with
the true number of steps.
"""

import jax
import jax.numpy as jnp

from algorithmic.clrs import initial
from fl_jax.core.types import Array, Float, Key, PyTree


def init(key: Key[Array, ""], hidden: int) -> PyTree:
    """Weights (4 h, 1) and a bias."""
    return initial.linear(key, 4 * hidden, 1)


def logit(
    params: PyTree, h_t: Float[Array, "H N B"], graph: Float[Array, "h B"], mask: Array
) -> Float[Array, " B"]:
    """Above 0 where the algorithm has ended; `mask` (N, B) bool."""
    top = jnp.max(jnp.where(mask[None], h_t, -jnp.inf), axis=1)
    return jnp.einsum("ho,hb->b", params["w"], jnp.concatenate([top, graph])) + params["b"][0]


def tally(
    said: Float[Array, " B"], last: Array, live: Array
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """(sum of cross-entropies over live lanes, how many there are)."""
    loss = jax.nn.softplus(said) - said * last.astype(said.dtype)
    live = live.astype(said.dtype)
    return jnp.sum(loss * live), jnp.sum(live)
