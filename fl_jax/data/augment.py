"""Augmentation of image batches on the device, a pure function of a key."""

import jax
import jax.numpy as jnp

from fl_jax.core.types import Array, Float, Key


def crop_and_flip(
    key: Key[Array, ""],
    images: Float[Array, "batch height width channels"],
    *,
    pad: int,
    flip: bool = True,
) -> Float[Array, "batch height width channels"]:
    """A random crop of each image after zero padding by `pad`, mirrored half of the time."""
    batch, height, width, _ = images.shape
    crop_key, flip_key = jax.random.split(key)
    padded = jnp.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    corner = jax.random.randint(crop_key, (batch, 2), 0, 2 * pad + 1)
    rows = corner[:, :1] + jnp.arange(height)[None]
    columns = corner[:, 1:] + jnp.arange(width)[None]
    if flip:
        mirrored = jax.random.bernoulli(flip_key, 0.5, (batch, 1))
        columns = jnp.where(mirrored, columns[:, ::-1], columns)
    which = jnp.arange(batch)
    return padded[which[:, None, None], rows[:, :, None], columns[:, None, :]]
