"""A network that draws a perturbation of an image: a small convolutional autoencoder."""

import jax
import jax.numpy as jnp
from flax import nnx

from fl_jax.core import errors
from fl_jax.core.types import Array, Float
from fl_jax.nn import conv


class Autoencoder(nnx.Module):
    """Two convolutions of stride 2, two doublings with a convolution each, values in [-1, 1].

    Without batch norm, so that it is a function of one image and trains on any batch.

    Raises:
        ConfigError: a side that is not a multiple of 4.
    """

    def __init__(self, *, side: int, channels: int, width: int = 16, rngs: nnx.Rngs):
        """`side` is the height and width of the images, `width` the channels of the first layer."""
        if side % 4:
            raise errors.ConfigError(
                f"the autoencoder halves an image twice, so that its side must be a multiple of 4,"
                f" got {side}; pad the images."
            )
        make = lambda inputs, outputs, strides: conv.Conv(
            inputs, outputs, (3, 3), strides=strides, padding=1, rngs=rngs
        )
        self.down = nnx.List([make(channels, width, 2), make(width, 2 * width, 2)])
        self.up = nnx.List([make(2 * width, width, 1), make(width, channels, 1)])

    def __call__(
        self, x: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch height width channels"]:
        for layer in self.down:
            x = jax.nn.relu(layer(x))
        twice = lambda x: jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)
        x = jax.nn.relu(self.up[0](twice(x)))
        return jnp.tanh(self.up[1](twice(x)))
