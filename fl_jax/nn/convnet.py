"""A small convolutional network without normalisation, for small images."""

import jax
from flax import nnx

from fl_jax.core.types import Array, Float
from fl_jax.nn import conv


class ConvNet(nnx.Module):
    """3x3 convolutions of stride 1, 2, 2, ... with ReLU, one hidden layer, logits.

    Nothing in it is shared between examples, so a participant with ten images trains it as well
    as one with a thousand: the choice for populations of very small shares.
    """

    def __init__(
        self,
        *,
        side: int,
        channels: int,
        classes: int,
        features: tuple[int, ...] = (16, 32),
        hidden: int = 64,
        rngs: nnx.Rngs,
    ):
        """`side` is the height and width of the images, `features` the channels per layer."""
        layers = []
        for i, outputs in enumerate(features):
            stride = 2 if i else 1
            layers.append(
                conv.Conv(channels, outputs, (3, 3), strides=stride, padding=1, rngs=rngs)
            )
            channels = outputs
            side = -(-side // stride)
        self.layers = nnx.List(layers)
        self.dense = nnx.Linear(side * side * channels, hidden, rngs=rngs)
        self.head = nnx.Linear(hidden, classes, rngs=rngs)

    def features(
        self, x: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch hidden"]:
        """What the last layer sees."""
        for layer in self.layers:
            x = jax.nn.relu(layer(x))
        return jax.nn.relu(self.dense(x.reshape(x.shape[0], -1)))

    def __call__(
        self, x: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch classes"]:
        return self.head(self.features(x))
