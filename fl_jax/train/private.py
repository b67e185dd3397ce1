"""DP-SGD: gradients clipped example by example, summed over a Poisson sample, noise on the sum.

What `privacy.accounting` calls `SampledGaussian(noise_multiplier, rate)`, once a step
[Abadi et al., CCS 2016].
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from fl_jax.core import errors, rng, tree
from fl_jax.core.types import Array, Bool, Float, Int, Key, PyTree
from fl_jax.train.state import Variables
from fl_jax.train.step import Loss


class Sample(NamedTuple):
    """A Poisson sample in a batch of fixed size."""

    rows: Int[Array, " capacity"]
    mask: Float[Array, " capacity"]  # 1 where the row was drawn, 0 where the batch is filled up
    missed: Int[Array, ""]  # drawn rows that found no place: must be 0, or the noise is too small


def capacity(records: int, rate: float) -> int:
    """Places for a Poisson sample that more than 1 - 1e-12 of all samples fit into.

    Raises:
        ConfigError: a rate that is not above 0 and at most 1.

    Example:
        >>> capacity(1000, 0.1)
        178
    """
    if not 0 < rate <= 1:
        raise errors.ConfigError(
            f"every record is drawn with a probability above 0 and at most 1, got {rate}."
        )
    mean = records * rate
    return min(records, math.ceil(mean + 7.5 * math.sqrt(mean * (1 - rate)) + 6))


def poisson(key: Key[Array, ""], present: Bool[Array, " records"], rate: float, places: int):
    """Every present record by itself with probability `rate`.

    Args:
        key: of this step.
        present: who is in the data at all.
        rate: in (0, 1].
        places: of the batch, from `capacity`.

    Returns:
        A `Sample`.
    """
    drawn = present & (jax.random.uniform(key, present.shape) < rate)
    rows = jnp.nonzero(drawn, size=places, fill_value=0)[0].astype(jnp.int32)
    count = jnp.sum(drawn).astype(jnp.int32)
    mask = (jnp.arange(places) < count).astype(jnp.float32)
    return Sample(rows, mask, jnp.maximum(count - places, 0))


def gradient(
    loss: Loss,
    variables: Variables,
    batch: PyTree,
    mask: Float[Array, " capacity"],
    key: Key[Array, ""],
    *,
    clip: float,
    noise_multiplier: float,
    expected: float,
) -> PyTree:
    """(sum_i g_i min(1, C / ||g_i||) + N(0, (noise_multiplier C)^2)) / expected batch size.

    The divisor is a constant: the true size of the sample would tell who is in it. An example whose
    gradient is not finite counts for nothing: no example moves the sum by more than C.

    Args:
        loss: (variables, batch of one, key) -> (loss, aux); no batch statistics.
        variables: of the model.
        batch: leaves (capacity, ...).
        mask: which of them count.
        key: of the noise and of the examples' dropout.
        clip: C, > 0.
        noise_multiplier: noise over C; 0 clips only.
        expected: records * rate, > 0.

    Returns:
        A tree like `variables.params`.
    """
    errors.positive("clipping norm", clip)
    errors.positive("expected batch size", expected)

    def one(example, counts, own):
        single = jax.tree.map(lambda leaf: leaf[None], example)
        value = lambda params: loss(variables._replace(params=params), single, own)[0]
        grads = jax.grad(value)(variables.params)
        size = tree.norm(grads)
        cut = tree.scale(counts * jnp.minimum(1.0, clip / jnp.maximum(size, 1e-30)), grads)
        return tree.where((counts > 0) & jnp.isfinite(size), cut, tree.zeros_like(cut))

    keys = jax.random.split(rng.fold(key, "examples"), mask.shape[0])
    clipped = jax.vmap(one)(batch, mask, keys)
    total = jax.tree.map(lambda g: jnp.sum(g, axis=0), tree.wide(clipped))
    noisy = tree.add(total, tree.normal(rng.fold(key, "noise"), total, noise_multiplier * clip))
    return tree.cast(jax.tree.map(lambda leaf: leaf / expected, noisy), clipped)
