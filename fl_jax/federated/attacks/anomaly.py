"""Anomaly scores L_ano(X, G) that an attacker keeps low: differentiable, 0 at X = G.

Any function (local parameters, global parameters) -> scalar fits, a defence's own score too.
"""

import jax
import jax.numpy as jnp

from fl_jax.core import errors, tree
from fl_jax.core.types import Array, Float, PyTree


def l2(local: PyTree, base: PyTree) -> Float[Array, ""]:
    """||X - G||_2 over all parameters; its derivative at X = G is taken as 0."""
    return tree.norm(tree.sub(local, base))


def squared_l2(local: PyTree, base: PyTree) -> Float[Array, ""]:
    """||X - G||_2^2."""
    return tree.squared_norm(tree.sub(local, base))


def cosine(local: PyTree, base: PyTree) -> Float[Array, ""]:
    """1 - cos(X, G), both as one flat vector."""
    return 1 - tree.cosine(local, base)


def layer_norms(local: PyTree, base: PyTree) -> Float[Array, ""]:
    """Mean over the layers of ||X_l - G_l|| / ||G_l||: a small layer counts as much as a large."""
    deltas, bases = jax.tree.leaves(tree.sub(local, base)), jax.tree.leaves(base)
    ratios = [tree.norm(d) / (tree.norm(b) + 1e-6) for d, b in zip(deltas, bases, strict=True)]
    return jnp.mean(jnp.stack(ratios))


SCORES = {"l2": l2, "squared_l2": squared_l2, "cosine": cosine, "layer_norms": layer_norms}


def by_name(name: str):
    """The score of this name."""
    return SCORES[errors.one_of("anomaly score", name, SCORES)]
