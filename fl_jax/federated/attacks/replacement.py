"""Scaling a malicious model so that it survives averaging."""

import jax.numpy as jnp

from fl_jax.core import errors, tree
from fl_jax.core.types import Array, Float, PyTree


def full_scale(*, eta: float, participants: int) -> float:
    """gamma = n / eta, with which G^{t+1} = X up to the benign updates (eq. 3)."""
    errors.positive("eta", eta)
    return participants / eta


def replace(local: PyTree, base: PyTree, gamma) -> PyTree:
    """gamma * (X - G), the update whose average puts X in the place of G.

    With gamma = n/eta, FedAvg gives G + (eta/n) (sum of benign D_i) + (X - G). A smaller gamma
    is a partial step: G + (gamma eta / n)(X - G) when the others stand still.

    References:
        Bagdasaryan et al. 2020, eq. 2 and 3 (model replacement).
    """
    return tree.scale(gamma, tree.sub(local, base))


def bounded_scale(local: PyTree, base: PyTree, gamma, bound) -> Float[Array, ""]:
    """min(gamma, S / ||X - G||): the largest scale that a norm bound S lets pass.

    References:
        Bagdasaryan et al. 2020, section 4.3 (train-and-scale).
    """
    size = tree.norm(tree.sub(local, base))
    return jnp.minimum(gamma, bound / jnp.maximum(size, 1e-30))
