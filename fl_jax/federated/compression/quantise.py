"""Stochastic quantisation: every number to one of its two neighbours on a grid, without bias."""

import math

import jax
import jax.numpy as jnp

from fl_jax.core import errors
from fl_jax.federated.compression.base import FLOAT, Code


def uniform(levels: int) -> Code:
    """The grid of `levels` points from the smallest number to the largest.

    The error of a number has a variance of at most ((max - min) / (levels - 1))^2 / 4. Sent are
    the two ends and ceil(log2(levels)) bits a number.

    Args:
        levels: k, at least 2.

    References:
        Suresh, Yu, Kumar, McMahan 2017, "Distributed Mean Estimation with Limited Communication",
        section 2.2 (stochastic k-level quantization).
    """
    errors.whole("levels", levels, 2)

    def read(x, key):
        low, high = jnp.min(x), jnp.max(x)
        step = (high - low) / (levels - 1)
        place = jnp.where(step > 0, (x - low) / jnp.where(step > 0, step, 1), 0)
        return jnp.minimum(low + _round(place, key) * step, high)

    return Code(read, lambda d: d * math.ceil(math.log2(levels)) + 2.0 * FLOAT)


def qsgd(levels: int, *, norm: str = "l2") -> Code:
    """Signs, and sizes on a grid of `levels` steps from 0 to the norm of the vector.

    Sent are the norm and log2(2 levels + 1) bits a number, at whole bits: a sign and a step of
    which few are not 0 where `levels` is far below sqrt(d), so that an entropy code on top would
    shorten it; none is counted. With the largest number for a norm and one level it is TernGrad.

    Args:
        levels: s, at least 1.
        norm: "l2", of the paper, or "max".

    References:
        Alistarh et al. 2017, "QSGD: Communication-Efficient SGD via Gradient Quantization and
        Encoding", section 3.1: E ||Q(x) - x||^2 <= min(d / s^2, sqrt(d) / s) ||x||^2. Wen et al.
        2017, "TernGrad".
    """
    errors.whole("levels", levels, 1)
    errors.one_of("norm", norm, ("l2", "max"))

    def read(x, key):
        largest = jnp.max(jnp.abs(x))
        unit = jnp.where(largest > 0, largest, 1)
        # Of the vector over its largest number, whose squares neither vanish nor overflow.
        over = jnp.sqrt(jnp.sum(jnp.square(x / unit))) if norm == "l2" else jnp.float32(1)
        over = jnp.where(largest > 0, over, 1)
        place = jnp.abs(x / unit) / over * levels
        return jnp.sign(x) * _round(place, key) / levels * over * unit

    each = math.ceil(math.log2(2 * levels + 1))
    return Code(read, lambda d: float(d * each + FLOAT))


def _round(place, key):
    """One of the two whole numbers beside each place, with the place for expectation."""
    below = jnp.floor(place)
    return below + (jax.random.uniform(key, place.shape) < place - below).astype(place.dtype)
