"""Maxima, sums and softmax over the edges that meet in a node."""

import functools

import jax
import jax.numpy as jnp

from algorithmic.clrs import pairs
from fl_jax.core.types import Array, Bool, Float, Int


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def maximum(
    m: Float[Array, "K h"], node: Int[Array, " K"], real: Bool[Array, " K"], nodes: int
) -> Float[Array, "M h"]:
    """The largest row entry of each node's edges, -1e6 where there is none.

    Its derivative goes to the first edge that attains it, as in the dense network.
    """
    return _maximum(m, node, real, nodes)


def _maximum(m, node, real, nodes):
    best = jax.ops.segment_max(jnp.where(real[:, None], m, -pairs.BIG), node, nodes)
    return jnp.maximum(best, -pairs.BIG)


def _forward(m, node, real, nodes):
    best = _maximum(m, node, real, nodes)
    count = m.shape[0]
    at = jnp.arange(count, dtype=jnp.int32)[:, None]
    attains = (m == best[node]) & real[:, None]
    first = jax.ops.segment_min(jnp.where(attains, at, count), node, nodes)
    return best, (first, node)


def _backward(nodes, saved, g):
    first, node = saved
    at = jnp.arange(node.shape[0], dtype=jnp.int32)[:, None]
    return jnp.where(first[node] == at, g[node], 0.0), None, None


maximum.defvjp(_forward, _backward)


def total(
    m: Float[Array, "K h"], node: Int[Array, " K"], real: Bool[Array, " K"], nodes: int
) -> Float[Array, "M h"]:
    """The sum over each node's edges."""
    return jax.ops.segment_sum(jnp.where(real[:, None], m, 0.0), node, nodes)


def log_softmax(
    logits: Float[Array, "K P"], node: Int[Array, " K"], real: Bool[Array, " K"], nodes: int
) -> Float[Array, "K P"]:
    """Each edge's share among its node's edges, as a logarithm; -1e6 on padding."""
    top = jax.lax.stop_gradient(_maximum(logits, node, real, nodes))
    shifted = jnp.where(real[:, None], logits - top[node], 0.0)
    mass = total(jnp.exp(shifted), node, real, nodes)
    out = shifted - jnp.log(jnp.maximum(mass, 1e-30))[node]
    return jnp.where(real[:, None], out, -pairs.BIG)
