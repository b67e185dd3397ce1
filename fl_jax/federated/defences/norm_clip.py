"""Clipping every update to a ball, with or without noise on the aggregate."""

import jax.numpy as jnp

from fl_jax.core import errors, tree
from fl_jax.federated.defences.base import Defence


def norm_clip(*, bound: float, noise: float = 0.0) -> Defence:
    """x_i * min(1, S / ||x_i||), then N(0, noise^2) on every coordinate of the aggregate.

    With `noise` it is the weak differential privacy of the backdoor literature. After clipping,
    an attacker moves the model by at most eta S / n a round.

    Args:
        bound: S, > 0.
        noise: standard deviation on the aggregate, in units of a parameter.

    References:
        Sun et al. 2019, "Can You Really Backdoor Federated Learning?".
    """
    errors.positive("clipping bound", bound)
    errors.not_negative("the noise on the aggregate", noise)

    def client(update, state):
        del state
        return tree.clip(update, bound)

    def server(aggregate, state, key):
        if not noise:
            return aggregate, state
        return tree.add(aggregate, tree.normal(key, aggregate, noise)), state

    def score(update, state):
        """What of the norm is beyond the bound, in bounds."""
        del state
        return jnp.maximum(tree.norm(update) / bound - 1, 0)

    return Defence(client=client, server=server, score=score)
