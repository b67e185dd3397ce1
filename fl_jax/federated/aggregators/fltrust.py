"""FLTrust: the server trusts updates as far as they point where its own root data point."""

import jax
import jax.numpy as jnp

from fl_jax.core import errors, tree
from fl_jax.core.types import PyTree
from fl_jax.federated.aggregators.base import Aggregator, Stacked, Summed, average
from fl_jax.federated.client import Client


def fltrust(*, client: Client, root: PyTree | None) -> Aggregator:
    """sum_i t_i (||x_0|| / ||x_i||) x_i / sum_i t_i, with t_i = relu(cos(x_i, x_0)).

    x_0 is what the server's own training on the root set gives from the round's model. A running
    sum: x_0 is known before the updates arrive. A round that nobody is trusted in moves nothing.

    Args:
        client: how the server trains; usually what the participants do.
        root: a small clean data set of the server, leaves (examples, ...).

    Raises:
        ConfigError: no root set.

    References:
        Cao et al. 2021, "FLTrust", eq. 2 to 5.
    """
    sizes = [len(leaf) for leaf in jax.tree.leaves(root)]
    if not sizes or not min(sizes):
        raise errors.ConfigError(
            "FLTrust needs a root set, clean examples that the server trains on itself, but there"
            " is none; give `root`, or choose a rule that needs no data."
        )
    root, size = jax.tree.map(jnp.asarray, root), sizes[0]

    def begin(variables, state, key):
        del state
        local, _ = client.train(variables, root, jnp.int32(0), jnp.int32(size), key, longest=size)
        return tree.sub(local, variables)

    def arrive(update, server):
        trust = jax.nn.relu(tree.cosine(update, server))
        scale = tree.norm(server) / jnp.maximum(tree.norm(update), 1e-30)
        return tree.scale(scale, update), trust

    def update(seen: Summed, server):
        return average(seen), server

    def score(update, others: Stacked, server):
        """1 - cos(x, x_0)."""
        del others
        return 1 - tree.cosine(update, server)

    zeros = lambda variables: tree.zeros_like(variables)
    return Aggregator(zeros, update, begin=begin, arrive=arrive, score=score)
