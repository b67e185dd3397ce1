"""What a code is: a vector to what the server reads of it. And the client that sends in it."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from fl_jax.core import errors, rng, tree
from fl_jax.core.types import Array, Float, Key, PyTree
from fl_jax.federated.attacks.base import Attack, View
from fl_jax.federated.client import Client
from fl_jax.train.state import Variables

FLOAT = 32  # bits of a number that is sent as it is


class Code(NamedTuple):
    """A lossy code of vectors, applied to every parameter array by itself, flattened."""

    read: Callable[[Float[Array, " d"], Key[Array, ""]], Float[Array, " d"]]
    """(vector, key) -> what is read of what was sent: decoding after encoding. float32, d >= 1"""
    bits: Callable[[int], float]
    """d -> bits that are sent for a vector of d numbers"""
    contracts: bool = False
    """whether what is lost is, on average, shorter than the vector, whatever the vector is"""


def whole() -> Code:
    """Everything as it is: 32 bits a number."""
    return Code(lambda x, key: x, lambda d: float(FLOAT * d), contracts=True)


def compressed(client: Client, code: Code, *, feedback: bool = False) -> Client:
    """A client whose update arrives as the code says.

    The server gets G + code(w - G); batch statistics are sent as they are. Clipping rules and
    secure aggregation follow after it and act on what was read (a masked sum has the length of its
    own field whatever the code). Compromised participants send what they like, in full, unless
    their attack is given to `of_code` too.

    Args:
        client: local training.
        code: what becomes of every parameter array of its update.
        feedback: keep what was lost, in the code and in rounding to the parameters' dtype, and add
            it to the next update, e <- x - code(x) with x = w - G + e: a biased code then loses
            nothing for good. Every participant remembers an update of its own from round to round;
            an update that does not arrive leaves it alone.

    Returns:
        A `Client`; what it draws depends on the key that it is given alone. An update that is not
        finite arrives as NaN, so that the round leaves it out.

    Raises:
        ConfigError: a client that remembers something itself; error feedback on a code that may
            lose more than there is, so that what is kept grows without end (Q(x) = d/k of k random
            numbers, say). When it trains: within SCAFFOLD.

    References:
        Karimireddy et al. 2019, "Error Feedback Fixes SignSGD and other Gradient Compression
        Schemes", Algorithm 2.
    """
    if client.remember is not None:
        raise errors.ConfigError(
            "only clients that keep nothing of their own from round to round can send compressed"
            " updates; take one of client.make."
        )

    if feedback and not code.contracts:
        raise errors.ConfigError(
            "error feedback needs a code that loses less than there is, or its memory grows without"
            " end; take top_k, random_k(scaled=False) or eden, or leave feedback out."
        )

    def train(variables, examples, start, size, key, *, longest: int, own=None, drift=None):
        if drift is not None:
            raise errors.ConfigError(
                "SCAFFOLD reckons a control variate from the steps that were taken, not from what"
                " was read of them; give it the client as it is."
            )
        local, info = client.train(variables, examples, start, size, key, longest=longest)
        update = tree.sub(tree.wide(local.params), tree.wide(variables.params))
        if feedback:
            update = tree.add(update, own)
        sent = send(code, update, rng.fold(key, "code"))
        params = tree.cast(tree.add(tree.wide(variables.params), sent), variables.params)
        local = Variables(params, local.batch_stats)
        if not feedback:
            return local, info
        arrived = tree.sub(tree.wide(params), tree.wide(variables.params))
        return local, info, tree.sub(update, arrived)

    remember = lambda variables: tree.zeros_like(tree.wide(variables.params))
    return Client(train, client.steps, remember if feedback else None)


def of_code(attack: Attack, code: Code) -> Attack:
    """The attack of participants whose updates are sent in the code too, each with its own key.

    What a server gets that reads nothing else, of attackers who encode as everyone does. One that
    chooses its own code words may lose less: a sparse one is read as it is.
    """

    def update(view: View, state, key):
        sent, state, info = attack.update(view, state, key)
        own = lambda update, ident: send(code, update, rng.fold(key, "code", ident))
        return sent._replace(params=jax.vmap(own)(sent.params, view.ids)), state, info

    return attack._replace(update=update)


def send(code: Code, update: PyTree, key: Key[Array, ""]) -> PyTree:
    """What is read of an update: every leaf by the code, flattened, with a key of its own."""
    leaves, structure = jax.tree.flatten(update)
    read = []
    for i, leaf in enumerate(leaves):
        flat = jnp.ravel(leaf).astype(jnp.float32)
        found = code.read(flat, rng.fold(key, i)) if flat.size else flat
        found = jnp.where(jnp.all(jnp.isfinite(flat)), found, jnp.nan)
        read.append(found.reshape(leaf.shape).astype(leaf.dtype))
    return jax.tree.unflatten(structure, read)


def bits(code: Code, variables: Variables) -> float:
    """Bits of one participant's update of a model, batch statistics at 32 a number included."""
    size = lambda leaf: math.prod(leaf.shape)
    sent = sum(code.bits(size(leaf)) for leaf in jax.tree.leaves(variables.params) if size(leaf))
    return sent + FLOAT * sum(size(leaf) for leaf in jax.tree.leaves(variables.batch_stats))
