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
    threshold(rate)
    mean = records * rate
    return min(records, math.ceil(mean + 7.5 * math.sqrt(mean * (1 - rate)) + 6))


def threshold(rate: float) -> float:
    """What a uniform float32 number is below with probability `rate`, or a little less.

    Such numbers are multiples of 2^-23. Compared with `rate` itself, too many are below it: at
    1e-6 every 14th record would be drawn without being accounted for.

    Raises:
        ConfigError: a rate that is not above 0 and at most 1, or is below 2^-23.
    """
    if not 0 < rate <= 1:
        raise errors.ConfigError(
            f"every record is drawn with a probability above 0 and at most 1, got {rate}."
        )
    below = math.floor(rate * 2**23)
    if not below:
        raise errors.ConfigError(
            f"a record cannot be drawn with a probability of {rate}, as uniform float32 numbers"
            f" are multiples of 2^-23 = {2**-23:.3g}; take that at least."
        )
    return below / 2**23


def poisson(key: Key[Array, ""], present: Bool[Array, " records"], rate: float, places: int):
    """Every present record by itself with probability `rate` (`threshold`).

    Args:
        key: of this step.
        present: who is in the data at all.
        rate: in (0, 1].
        places: of the batch, from `capacity`.

    Returns:
        A `Sample`.
    """
    drawn = present & (jax.random.uniform(key, present.shape) < threshold(rate))
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
        grads = tree.wide(grads)  # rounded after clipping, they could be longer than C
        cut = tree.scale(counts, tree.clip(grads, clip))
        sound = (counts > 0) & jnp.isfinite(tree.norm(grads))
        return tree.where(sound, cut, tree.zeros_like(cut))

    keys = jax.random.split(rng.fold(key, "examples"), mask.shape[0])
    clipped = jax.vmap(one)(batch, mask, keys)
    total = jax.tree.map(lambda g: jnp.sum(g, axis=0), clipped)
    noisy = tree.add(total, tree.normal(rng.fold(key, "noise"), total, noise_multiplier * clip))
    return tree.cast(jax.tree.map(lambda leaf: leaf / expected, noisy), variables.params)
