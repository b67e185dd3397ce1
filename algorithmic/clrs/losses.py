"""Losses per probe, and the soft values that hints are fed back as [Ibarz et al. 2022, 3.2].

Every loss of a probe is a sum over cells over a count of cells; both are returned, so that they
may be added up over steps and devices before they are divided.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from algorithmic.clrs import layout
from algorithmic.clrs.layout import Channels, Values
from fl_jax.core.types import Array, Float

GONE = -1e9  # the logit of a node that is not there


class Tally(NamedTuple):
    """Sums and counts per slot, head channels only, by location."""

    total: Values
    count: Values


def tally(
    logits: Values, truth: Values, tables: Values, mask: Float[Array, "N B"],
    valid: Float[Array, " B"],
) -> Tally:  # fmt: skip
    """Sum and count of the loss of every slot; channels first, then nodes or pairs, batch last.

    Args:
        logits: from `decoders.decode`; pointers as log-probabilities or logits over targets.
        truth: as channels, pointers as indices.
        tables: of the stage.
        mask: 1 on real nodes.
        valid: 1 for samples that count.
    """
    cells = mask * valid[None]
    pairs = layout.paired(cells[:, None] * mask[None], 0)
    node = _plain(logits.node, truth.node, tables.node, cells, mask)
    edge = _plain(logits.edge, truth.edge, tables.edge, pairs, None)
    graph = _plain(logits.graph, truth.graph, tables.graph, valid, None)
    pointer = _pointing(logits.pointer, truth.pointer, tables.pointer, cells, mask)
    pair = _pointing(logits.edge_pointer, truth.edge_pointer, tables.edge_pointer, pairs, mask)
    both = (node, edge, graph, pointer, pair)
    return Tally(Values(*(t for t, _ in both)), Values(*(c for _, c in both)))


def mean(tallied: Tally) -> Float[Array, ""]:
    """Sum over probes of each probe's mean."""
    parts = jax.tree.map(lambda t, c: jnp.sum(t / jnp.maximum(c, 1e-12)), *tallied)
    return sum(jax.tree.leaves(parts), jnp.float32(0))


def _kinds(table: Channels, rank: int):
    """Which channels are scalars, masks, one-hots and classes, (C, 1, ...)."""
    kind = jnp.asarray(table.kind)
    return (kind[:, k].reshape(-1, *[1] * (rank - 1)) for k in range(4))


def _plain(logits, truth, table: Channels, cells, nodes):
    """Scalars, masks, one-hots over nodes, classes; (C,) sums and counts."""
    if not logits.shape[0]:
        return jnp.zeros(0), jnp.zeros(0)
    scalar, binary, one, classes = _kinds(table, logits.ndim)
    weight = cells[None]
    asked = (truth != -1).astype(jnp.float32)
    hit = (truth == 1).astype(jnp.float32)
    squares = jnp.square(logits - truth)
    bce = jnp.maximum(logits, 0) - logits * hit + jnp.log1p(jnp.exp(-jnp.abs(logits)))
    loss = squares * scalar + bce * asked * binary
    loss = loss - hit * _log_classes(logits, table) * classes
    # A scalar counts its cells, a mask those that are asked, a one-hot or class its ones.
    counted = scalar + asked * binary + hit * (one + classes)
    if nodes is not None:
        loss = loss - hit * _log_nodes(logits, nodes) * one
    axes = tuple(range(1, logits.ndim))
    total, count = jnp.sum(loss * weight, axes), jnp.sum(counted * weight, axes)
    return (total @ table.group) * table.head, (count @ table.group) * table.head


def _log_nodes(logits, nodes):
    return jax.nn.log_softmax(jnp.where(nodes[None] > 0, logits, GONE), axis=1)


def _log_classes(logits, table):
    """log softmax within each categorical, 0 on channels of other kinds."""
    *_, classes = _kinds(table, logits.ndim)
    among = jnp.asarray(table.group).reshape(*table.group.shape, *[1] * (logits.ndim - 1))
    # Far below the largest class of another probe, exp would be lost: each group has its own top.
    top = jnp.max(jnp.where(among > 0, logits[None], -1e30), axis=1)
    shifted = jnp.where(classes > 0, logits - jax.lax.stop_gradient(top), 0.0)
    total = jnp.einsum("dc,c...->d...", jnp.asarray(table.group), jnp.exp(shifted))
    return shifted - jnp.log(jnp.where(classes > 0, total, 1.0))


def _pointing(logits, truth, live, cells, mask):
    """Cross-entropy of targets; (P,) sums and counts."""
    if logits is None:
        return jnp.zeros(live.shape), jnp.zeros(live.shape)
    axis = logits.ndim - 2
    at = jax.lax.broadcasted_iota(jnp.int32, logits.shape, axis)
    log_p = log_pointer(logits, mask)
    picked = jnp.sum(jnp.where(at == truth[..., None, :], log_p, 0.0), axis=axis)
    total = -jnp.sum(picked * cells[None], tuple(range(1, picked.ndim)))
    return total * live, jnp.sum(cells) * live


def log_pointer(logits: Array, mask: Float[Array, "N B"]) -> Array:
    """log softmax over targets, the last axis but one; padding excluded."""
    targets = mask.reshape(*[1] * (logits.ndim - 2), *mask.shape)
    return jax.nn.log_softmax(jnp.where(targets > 0, logits, GONE), axis=-2)


def soften(logits: Values, tables: Values, mask: Float[Array, "N B"]) -> Values:
    """Predicted hints as they are fed back: softmax, sigmoid, scalars as they are."""
    soft = lambda pointers: None if pointers is None else jnp.exp(log_pointer(pointers, mask))
    return Values(
        _soft(logits.node, tables.node, mask),
        _soft(logits.edge, tables.edge, None),
        _soft(logits.graph, tables.graph, None),
        soft(logits.pointer),
        soft(logits.edge_pointer),
    )


def _soft(logits, table, nodes):
    if not logits.shape[0]:
        return logits
    scalar, binary, one, classes = _kinds(table, logits.ndim)
    out = logits * scalar + jax.nn.sigmoid(logits) * binary
    out = out + jnp.exp(_log_classes(logits, table)) * classes
    if nodes is not None:
        out = out + jnp.exp(_log_nodes(logits, nodes)) * one
    return out
