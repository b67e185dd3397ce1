"""The light ResNet18 of the backdoor paper, and its smaller relatives."""

import jax
import jax.numpy as jnp
from flax import nnx

from fl_jax.core.types import Array, Float
from fl_jax.nn import conv, norms


class Block(nnx.Module):
    """Basic residual block: two 3x3 convolutions with batch norm, and a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int, *, rngs: nnx.Rngs):
        self.conv1 = conv.Conv(
            inputs, outputs, (3, 3), strides=stride, padding=1, use_bias=False, rngs=rngs
        )
        self.norm1 = norms.BatchNorm(outputs, rngs=rngs)
        self.conv2 = conv.Conv(outputs, outputs, (3, 3), padding=1, use_bias=False, rngs=rngs)
        self.norm2 = norms.BatchNorm(outputs, rngs=rngs)
        self.projected = stride != 1 or inputs != outputs
        if self.projected:
            self.conv3 = conv.Conv(
                inputs, outputs, (1, 1), strides=stride, padding=0, use_bias=False, rngs=rngs
            )
            self.norm3 = norms.BatchNorm(outputs, rngs=rngs)

    def __call__(self, x, *, mask=None):
        y = jax.nn.relu(self.norm1(self.conv1(x), mask=mask))
        y = self.norm2(self.conv2(y), mask=mask)
        shortcut = self.norm3(self.conv3(x), mask=mask) if self.projected else x
        return jax.nn.relu(y + shortcut)


class ResNet(nnx.Module):
    """A residual network without pooling in its stem, for images of 8 to 64 pixels.

    The defaults are the paper's light ResNet18: blocks 2, 2, 2, 2 of widths 32, 64, 128, 256,
    2,797,610 parameters on 3 x 32 x 32 inputs and 10 classes.

    References:
        He et al. 2016; Bagdasaryan et al. 2020, section 5.1 ("lightweight ResNet18").
    """

    def __init__(
        self,
        *,
        channels: int = 3,
        classes: int = 10,
        blocks: tuple[int, ...] = (2, 2, 2, 2),
        width: int = 32,
        rngs: nnx.Rngs,
    ):
        """`width` is that of the first stage; it doubles, and the image halves, at each next."""
        self.stem = conv.Conv(channels, width, (3, 3), padding=1, use_bias=False, rngs=rngs)
        self.norm = norms.BatchNorm(width, rngs=rngs)
        layers, inputs = [], width
        for stage, count in enumerate(blocks):
            outputs = width * 2**stage
            for i in range(count):
                stride = 2 if stage and not i else 1
                layers.append(Block(inputs, outputs, stride, rngs=rngs))
                inputs = outputs
        self.blocks = nnx.List(layers)
        self.head = nnx.Linear(inputs, classes, rngs=rngs)

    def features(
        self,
        x: Float[Array, "batch height width channels"],
        *,
        mask: Float[Array, " batch"] | None = None,
    ) -> Float[Array, "batch features"]:
        """What the last layer sees."""
        x = jax.nn.relu(self.norm(self.stem(x), mask=mask))
        for block in self.blocks:
            x = block(x, mask=mask)
        return jnp.mean(x, axis=(1, 2))

    def __call__(
        self,
        x: Float[Array, "batch height width channels"],
        *,
        mask: Float[Array, " batch"] | None = None,
    ) -> Float[Array, "batch classes"]:
        return self.head(self.features(x, mask=mask))
