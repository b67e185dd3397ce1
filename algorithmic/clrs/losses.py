"""Losses per probe, and the soft values that hints are fed back as [Ibarz et al. 2022, 3.2].

Every loss of a probe is a sum over cells over a count of cells; both are returned, so that they
may be added up over steps and devices before they are divided.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from algorithmic.clrs.layout import Channels, Values
from fl_jax.core.types import Array, Float

GONE = -1e9  # the logit of a node that is not there


class Tally(NamedTuple):
    """Sums and counts per slot, head channels only, by location."""

    total: Values
    count: Values


def tally(
    logits: Values, truth: Values, tables: Values, mask: Float[Array, "B N"],
    valid: Float[Array, " B"],
) -> Tally:  # fmt: skip
    """Sum and count of the loss of every slot.

    Args:
        logits: from `decoders.decode`; pointers as log-probabilities or logits over targets.
        truth: as channels, pointers as indices.
        tables: of the stage.
        mask: 1 on real nodes.
        valid: 1 for samples that count.
    """
    cells = mask * valid[:, None]
    pairs = cells[:, :, None] * mask[:, None, :]
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


def _plain(logits, truth, table: Channels, cells, nodes):
    """Scalars, masks, one-hots over nodes, classes; (C,) sums and counts."""
    scalar, binary, one, classes = (table.kind[:, k] for k in range(4))
    weight = cells[..., None]
    asked = (truth != -1).astype(jnp.float32)
    hit = (truth == 1).astype(jnp.float32)
    squares = jnp.square(logits - truth)
    bce = jnp.maximum(logits, 0) - logits * hit + jnp.log1p(jnp.exp(-jnp.abs(logits)))
    class_loss = -hit * _log_classes(logits, table)
    shape = (1,) * (logits.ndim - 1) + (-1,)
    loss = squares * scalar.reshape(shape)
    loss = loss + bce * asked * binary.reshape(shape)
    loss = loss + class_loss * classes.reshape(shape)
    # A scalar counts its cells, a mask those that are asked, a one-hot or class its ones.
    counted = scalar.reshape(shape) + asked * binary.reshape(shape)
    counted = counted + hit * (one + classes).reshape(shape)
    if nodes is not None:
        loss = loss - hit * _log_nodes(logits, nodes) * one.reshape(shape)
    axes = tuple(range(logits.ndim - 1))
    total, count = jnp.sum(loss * weight, axes), jnp.sum(counted * weight, axes)
    return (total @ table.group) * table.head, (count @ table.group) * table.head


def _log_nodes(logits, nodes):
    return jax.nn.log_softmax(jnp.where(nodes[..., None] > 0, logits, GONE), axis=1)


def _log_classes(logits, table):
    """log softmax within each categorical; channels of other kinds are left out."""
    top = jax.lax.stop_gradient(jnp.max(logits, axis=-1, keepdims=True, initial=-1e30))
    shape = (1,) * (logits.ndim - 1) + (-1,)
    of_classes = table.kind[:, 3].reshape(shape)
    # Far below the largest class of another probe, exp would be lost: each group has its own top.
    group_top = jnp.max(
        jnp.where(_tail(table.group, logits.ndim) > 0, logits[..., None, :], -1e30),
        axis=-1,
        initial=-1e30,
    )
    group_top = jax.lax.stop_gradient(jnp.where(of_classes > 0, group_top, top))
    shifted = jnp.where(of_classes > 0, logits - group_top, 0.0)
    return shifted - jnp.log(jnp.exp(shifted) @ table.group + (1 - of_classes))


def _tail(matrix, rank):
    return matrix.reshape((1,) * (rank - 1) + matrix.shape)


def _pointing(logits, truth, live, cells, mask):
    """Cross-entropy of targets; (P,) sums and counts."""
    if logits is None:
        return jnp.zeros(live.shape), jnp.zeros(live.shape)
    target = jnp.moveaxis(truth, -1, 1)  # (B, P, ...)
    at = jax.lax.broadcasted_iota(jnp.int32, logits.shape, logits.ndim - 1)
    log_p = log_pointer(logits, mask)
    picked = jnp.sum(jnp.where(at == target[..., None], log_p, 0.0), axis=-1)
    weight = cells[:, None]
    axes = (0, *range(2, picked.ndim))
    total = -jnp.sum(picked * weight, axes) * live
    return total, jnp.sum(cells) * live


def log_pointer(logits: Array, mask: Float[Array, "B N"]) -> Array:
    """log softmax over targets, padding excluded."""
    columns = mask.reshape(mask.shape[0], *[1] * (logits.ndim - 2), mask.shape[1])
    return jax.nn.log_softmax(jnp.where(columns > 0, logits, GONE), axis=-1)


def soften(logits: Values, tables: Values, mask: Float[Array, "B N"]) -> Values:
    """Predicted hints as they are fed back: softmax, sigmoid, scalars as they are."""
    pointer = None if logits.pointer is None else jnp.exp(log_pointer(logits.pointer, mask))
    pair = logits.edge_pointer
    return Values(
        _soft(logits.node, tables.node, mask),
        _soft(logits.edge, tables.edge, None),
        _soft(logits.graph, tables.graph, None),
        pointer,
        None if pair is None else jnp.exp(log_pointer(pair, mask)),
    )


def _soft(logits, table, nodes):
    shape = (1,) * (logits.ndim - 1) + (-1,)
    scalar, binary, one, classes = (table.kind[:, k].reshape(shape) for k in range(4))
    out = logits * scalar + jax.nn.sigmoid(logits) * binary
    out = out + jnp.exp(_log_classes(logits, table)) * classes
    if nodes is not None:
        out = out + jnp.exp(_log_nodes(logits, nodes)) * one
    return out
