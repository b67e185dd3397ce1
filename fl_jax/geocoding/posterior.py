"""The posterior over cells: exact, to a stated residual mass, or by beams.

The tree is expanded level by level, the nodes of one depth side by side and the texts of a
batch together. With room for every node the posterior is exact; with less, the likeliest nodes
are expanded, and the mass of those that are not is the residual: it stays on inner cells, which
are as much a part of the answer as leaves are.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fl_jax.core.types import Array, Bool, Float, PyTree
from fl_jax.geocoding import cells, network
from fl_jax.geocoding.network import Config, Encoded, Tables
from fl_jax.t5 import model


class Posterior(NamedTuple):
    """log p of every cell that was reached, and where the expansion stopped."""

    node: Float[Array, "batch n"]  # log p, NEVER where not reached
    stopped: Bool[Array, "batch n"]  # reached and not expanded: leaves, and the residual
    residual: Float[Array, " batch"]  # mass on inner cells that were not expanded


def widths(partition: cells.Partition, capacity: int | None) -> tuple[int, ...]:
    """Inner nodes to expand at each depth, the root being depth 0."""
    inner = partition.first + 1 < partition.last
    inner |= (partition.children >= 0).any(1)
    counts = [
        int((inner & (partition.level == level)).sum()) for level in range(-1, partition.depth)
    ]
    counts = [c for c in counts if c]
    return tuple(counts if capacity is None else [min(c, capacity) for c in counts])


@functools.partial(jax.jit, static_argnames=("config", "widths"))
def expand(
    params: PyTree, config: Config, tables: Tables, encoded: Encoded, widths: tuple[int, ...]
) -> Posterior:
    """Expands at most so many nodes of each depth, the likeliest.

    Args:
        params, config, tables, encoded: the network's, from `network.encode`.
        widths: from `widths`.
    """
    batch, count = encoded.mixture.shape[0], tables.children.shape[0]
    mass = network.node_mass(tables, encoded.mixture)
    rows = jnp.arange(batch)[:, None]
    nodes = jnp.zeros((batch, 1), jnp.int32)
    logs = jnp.zeros((batch, 1))
    alive = jnp.ones((batch, 1), bool)
    kv = parent = None
    found = jnp.full((batch, count), network.NEVER).at[:, cells.ROOT].set(0.0)
    expanded = jnp.zeros((batch, count), bool)
    has_children = jnp.any(tables.children >= 0, axis=1)
    for depth, _ in enumerate(widths):
        x = model.embed(params["t5"], config.t5, network.token(config, nodes))
        if kv is not None:
            kv = tuple(a[:, rows, parent] for a in kv)
        states, kv = model.branch(params["t5"], config.t5, x, encoded.memory, kv)
        at = jnp.full(nodes.shape, depth, jnp.int32)
        steps = network.child_logs(params, config, tables, states, nodes, mass, at)
        children = tables.children[nodes]
        there = (children >= 0) & alive[:, :, None]
        below = jnp.where(there, logs[:, :, None] + steps, network.NEVER)
        outside = jnp.where(there, children, count)
        found = found.at[rows, outside.reshape(batch, -1)].set(
            below.reshape(batch, -1), mode="drop"
        )
        expanded = expanded.at[rows, jnp.where(alive, nodes, count)].set(True, mode="drop")
        if depth + 1 == len(widths):
            break
        inner = there & has_children[jnp.maximum(children, 0)]
        flat = jnp.where(inner, below, 2 * network.NEVER).reshape(batch, -1)
        logs, place = jax.lax.top_k(flat, min(widths[depth + 1], flat.shape[1]))
        alive = logs > 1.5 * network.NEVER
        parent = place // children.shape[2]
        nodes = jnp.take_along_axis(jnp.maximum(children, 0).reshape(batch, -1), place, axis=1)
        nodes = jnp.where(alive, nodes, 0)
    reached = found > network.NEVER / 2
    stopped = reached & ~expanded
    left = jnp.where(stopped & has_children[None], jnp.exp(found), 0.0)
    return Posterior(found, stopped, jnp.sum(left, axis=1))


@functools.partial(jax.jit, static_argnames=("config",))
def encode(params: PyTree, config: Config, tables: Tables, batch: dict) -> Encoded:
    """`network.encode`, compiled."""
    return network.encode(params, config, tables, batch)


def brute_force(params, config: Config, tables: Tables, encoded: Encoded) -> np.ndarray:
    """log p (batch, leaves) of every leaf by a full pass along its own path: the slow twin."""
    leaves = tables.paths.shape[0]
    batch = encoded.mixture.shape[0]
    found = np.zeros((batch, leaves))
    for leaf in range(leaves):
        own = jnp.full(batch, leaf, jnp.int32)
        steps, real = network.path_log(params, config, tables, encoded, own)
        found[:, leaf] = np.asarray(jnp.sum(jnp.where(real, steps, 0.0), axis=1))
    return found
