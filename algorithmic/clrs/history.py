"""What a step keeps of the steps before it [Bohde et al. 2024, G-ForgetNet, arXiv 2403.04929].

An algorithm's next step depends on its present state alone, which the hints show; a hidden state
that is carried along is a way to remember what should not matter. Three choices:

    kept      z_t = [x_t, h_t-1], the paper's [Ibarz et al. 2022]
    none      z_t = [x_t, 0]: ForgetNet
    gated     z_t = [x_t, g_t-1 * h_t-1], g = sigmoid(G3 relu(G1 z + G2 h)), and the mean square of
              the gates is a further loss that closes them: G-ForgetNet

The network reads h itself when it decodes; only what is carried on is gated. The gates start half
open (bias 0) and read h, not the messages: our reading, for the authors' code is not published.
"""

import jax
import jax.numpy as jnp

from algorithmic.clrs import initial, pairs
from fl_jax.core.types import Array, Float, Key, PyTree

NAMES = ("kept", "none", "gated")


def init(key: Key[Array, ""], hidden: int) -> PyTree:
    """Weights of the gates."""
    one, two, three = jax.random.split(key, 3)
    return {
        "z": initial.linear(one, 2 * hidden, hidden),
        "h": initial.linear(two, hidden, hidden),
        "gate": initial.linear(three, hidden, hidden),
    }


def gate(
    params: PyTree, z: Float[Array, "i N B"], h: Float[Array, "h N B"]
) -> Float[Array, "h N B"]:
    """How much of every feature of h is carried on, in (0, 1)."""
    linear = lambda p, v: pairs.product(pairs.weight(p["w"]), v) + p["b"][:, None, None]
    inner = jax.nn.relu(linear(params["z"], z) + linear(params["h"], h))
    return jax.nn.sigmoid(linear(params["gate"], inner))


def openness(
    gates: Float[Array, "h N B"], mask: Float[Array, "N B"], live: Float[Array, " B"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """(sum of the squares of the gates of live lanes' nodes, how many there are)."""
    cells = mask * live[None]
    return jnp.sum(jnp.square(gates) * cells[None]), jnp.sum(cells) * gates.shape[0]
