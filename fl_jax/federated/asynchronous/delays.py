"""How long a participant takes from the model that it is sent to the arrival of its update."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fl_jax.core import errors
from fl_jax.core.types import Array, Float, Int, Key

# The shortest delay over the scale: a delay of nothing would arrive before it began.
LEAST = 1e-6


class Delay(NamedTuple):
    """A distribution of delays; time has no unit but the scale's."""

    draw: Callable[[Key[Array, ""], Int[Array, ""]], Float[Array, ""]]
    """(key, participant) -> delay above 0"""
    participants: int | None = None  # for whom it is given; None: for any


def constant(seconds=1.0) -> Delay:
    """Everyone's is the same, or each participant has its own.

    Args:
        seconds: one number, or one a participant (participants,); above 0.
    """
    return _scaled(seconds, lambda key: jnp.float32(1))


def half_normal(scale=1.0) -> Delay:
    """scale |N(0, 1)|, of mean scale sqrt(2 / pi).

    What Nguyen et al. 2022 found to fit the training times of devices (from memory).

    Args:
        scale: one number, or one a participant (participants,); above 0.
    """
    return _scaled(scale, lambda key: jnp.abs(jax.random.normal(key)))


def exponential(mean=1.0) -> Delay:
    """Memoryless: whoever is training is as likely as any other to arrive next.

    Args:
        mean: one number, or one a participant (participants,); above 0.
    """
    return _scaled(mean, jax.random.exponential)


def _scaled(scale, unit: Callable[[Key[Array, ""]], Float[Array, ""]]) -> Delay:
    scales = np.asarray(scale, np.float32)
    if scales.ndim > 1 or not scales.size or not np.all((scales > 0) & np.isfinite(scales)):
        raise errors.ConfigError(
            "delays are one positive number, or one a participant in one row, got"
            f" {scale if scales.ndim == 0 else f'an array of shape {scales.shape}'}; give finite"
            " numbers above 0."
        )
    scales = jnp.asarray(scales)

    def draw(key, ident):
        own = scales[ident] if scales.ndim else scales
        return own * jnp.maximum(unit(key), LEAST)

    return Delay(draw, len(scales) if scales.ndim else None)
