"""Adaptive server optimizers: FedAdagrad, FedAdam and FedYogi as published.

They differ from `fl_jax.train.optimizer` in three things: no correction of the moments' bias, a
second moment that starts at tau^2, and tau (1e-3) in place of a tiny epsilon, which decides how
adaptive the step is at all.

References:
    Reddi et al. 2021, "Adaptive Federated Optimization", Algorithm 2.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from fl_jax.core import errors, tree
from fl_jax.core.types import PyTree

KINDS = ("adagrad", "adam", "yogi")


class Moments(NamedTuple):
    """What the server remembers of the aggregates."""

    first: PyTree  # m, like the parameters, float32 at least
    second: PyTree  # v, likewise


def adaptive(
    kind: str, *, rate: float, b1: float = 0.9, b2: float = 0.99, tau: float = 1e-3
) -> optax.GradientTransformation:
    """x <- x + rate m / (sqrt(v) + tau), for `round.make(server=...)`.

    m is the moving average of the aggregates D, and v that of their squares (adam), their sum
    (adagrad), or yogi's v - (1 - b2) D^2 sign(v - D^2).

    Args:
        kind: adagrad, adam or yogi.
        rate: eta of the server.
        b1: decay of m; the paper's FedAdagrad has 0.
        b2: decay of v; not adagrad's.
        tau: degree of adaptivity; v starts at its square.

    Raises:
        ConfigError: an unknown kind, rate or tau not above 0, decays outside [0, 1).

    Example:
        >>> server = adaptive("adam", rate=0.1)
        >>> gradient = jnp.full(2, -1.0)  # minus the aggregate
        >>> moved, _ = server.update(gradient, server.init(jnp.zeros(2)))
        >>> print(moved.round(4))
        [0.099 0.099]
    """
    errors.one_of("adaptive server optimizer", kind, KINDS)
    errors.positive("the server's learning rate", rate)
    errors.positive("tau", tau)
    errors.below_one("b1", b1)
    errors.below_one("b2", b2)

    def init(params: PyTree) -> Moments:
        params = tree.wide(params)
        return Moments(
            jax.tree.map(jnp.zeros_like, params),
            jax.tree.map(lambda p: jnp.full_like(p, tau**2), params),
        )

    def second(v, d):
        square = d * d
        if kind == "adagrad":
            return v + square
        if kind == "adam":
            return b2 * v + (1 - b2) * square
        return v - (1 - b2) * square * jnp.sign(v - square)

    def update(gradient: PyTree, state: Moments, params: PyTree | None = None):
        del params
        wide = tree.wide(gradient)  # the squares of narrow floats vanish
        m = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, state.first, wide)
        v = jax.tree.map(second, state.second, wide)
        moved = jax.tree.map(lambda m, v: -rate * m / (jnp.sqrt(v) + tau), m, v)
        return tree.cast(moved, gradient), Moments(m, v)

    return optax.GradientTransformation(init, update)
