"""Gradient accumulation: one batch as several micro-batches, one after another."""

import jax
import jax.numpy as jnp

from fl_jax.core import dtypes, errors
from fl_jax.core.types import PyTree
from fl_jax.train.state import Variables
from fl_jax.train.step import Loss


def split(batch: PyTree, parts: int) -> PyTree:
    """Leaves (rows, ...) as (parts, rows / parts, ...): micro-batch j has rows j, j + parts, ...

    Rows are dealt and not cut, so that rows sharded over devices stay where they are.

    Raises:
        ConfigError: parts that do not divide the rows.
    """

    def leaf(a):
        if a.shape[0] % parts:
            raise errors.ConfigError(
                f"{parts} micro-batches do not divide a batch of {a.shape[0]} rows."
            )
        return jnp.moveaxis(a.reshape(a.shape[0] // parts, parts, *a.shape[1:]), 1, 0)

    return jax.tree.map(leaf, batch)


def join(parts: PyTree) -> PyTree:
    """The inverse of `split`."""
    back = lambda a: jnp.moveaxis(a, 0, 1).reshape(a.shape[0] * a.shape[1], *a.shape[2:])
    return jax.tree.map(back, parts)


def over(loss: Loss, parts: int) -> Loss:
    """The loss over the whole batch, with memory for one micro-batch at a time.

    The gradient is computed together with the loss and summed in float32 (or wider), one
    micro-batch after another, so the backward pass recomputes nothing. Losses are *added*: they
    must be sums whose weights are normalised over the whole batch, such as
    `fl_jax.bloom.loss` with `weights` in the batch; then the result is that of the whole batch
    at once, also where micro-batches hold different numbers of targets.

    Args:
        loss: (variables, batch, key) -> (scalar, (batch_stats, metrics)); differentiated once;
            its batch_stats must be empty, and its metrics are added up.
        parts: micro-batches; 1 returns the loss as it is.

    Raises:
        ConfigError: parts that are not above 0, or do not divide the rows; batch_stats.

    Example:
        >>> from fl_jax.train.state import Variables
        >>> loss = lambda v, batch, key: (jnp.sum(v.params * batch["x"]), ({}, {}))
        >>> value, _ = over(loss, 2)(Variables(jnp.float32(3), {}), {"x": jnp.ones(4)}, None)
        >>> float(value)
        12.0
    """
    errors.positive("micro-batches", parts)
    if parts == 1:
        return loss

    def run(variables, batch, key, differentiate):
        batches = split(batch, parts)

        def one(params, micro, index):
            own = None if key is None else jax.random.fold_in(key, index)
            return loss(variables._replace(params=params), micro, own)

        wide = lambda a: dtypes.wide(a.dtype)

        def step(carry, inputs):
            micro, index = inputs
            if differentiate:
                out, grads = jax.value_and_grad(one, has_aux=True)(variables.params, micro, index)
                total, summed = carry
                summed = jax.tree.map(lambda s, g: s + g.astype(s.dtype), summed, grads)
                return (total + out[0].astype(total.dtype), summed), out[1][1]
            out = one(variables.params, micro, index)
            return (carry[0] + out[0].astype(carry[0].dtype), carry[1]), out[1][1]

        zeros = None
        if differentiate:
            zeros = jax.tree.map(lambda a: jnp.zeros(a.shape, wide(a)), variables.params)
        first = jax.tree.map(lambda a: a[0], batches)
        value = jax.eval_shape(one, variables.params, first, 0)[0]
        start = (jnp.zeros((), wide(value)), zeros)
        (total, grads), metrics = jax.lax.scan(step, start, (batches, jnp.arange(parts)))
        return total, grads, jax.tree.map(lambda a: jnp.sum(a, axis=0, dtype=a.dtype), metrics)

    @jax.custom_vjp
    def total(params, batch_stats, batch, key):
        value, _, metrics = run(Variables(params, batch_stats), batch, key, False)
        return value, metrics

    def forward(params, batch_stats, batch, key):
        value, grads, metrics = run(Variables(params, batch_stats), batch, key, True)
        return (value, metrics), (grads, params)

    def backward(residuals, cotangents):
        grads, params = residuals
        g = cotangents[0]
        scaled = jax.tree.map(lambda a, p: (a * g.astype(a.dtype)).astype(p.dtype), grads, params)
        return scaled, None, None, None

    total.defvjp(forward, backward)

    def accumulated(variables, batch, key):
        if jax.tree.leaves(variables.batch_stats):
            raise errors.ConfigError(
                "a network with batch statistics cannot be trained in micro-batches, each of which"
                " has statistics of its own; use one micro-batch, or normalise without them."
            )
        value, metrics = total(variables.params, variables.batch_stats, batch, key)
        return value, (variables.batch_stats, metrics)

    return accumulated
