"""LeNet, the network of many federated learning tutorials."""

import itertools

import jax
import jax.numpy as jnp
from flax import nnx

from fl_jax.core.types import Array, Float
from fl_jax.nn import blocks, conv, dense, pool


class LeNet(nnx.Module):
    """conv 5x5x6, relu, max pool 2, conv 5x5x16, relu, max pool 2, dense 120, 84, classes.

    For images of 32 x 32 pixels, convolutions unpadded; 62,006 parameters for three channels and
    ten classes, 61,706 for one channel.

    References:
        LeCun et al. 1998, section II.B, with relu and maxima as tutorials have it (PyTorch's
        "Training a classifier", Flower's quickstart-pytorch).
    """

    def __init__(
        self, *, channels: int = 3, classes: int = 10, method: str = "auto", rngs: nnx.Rngs
    ):
        """
        Args:
            channels: of the images.
            classes: logits.
            method: of the convolutions, from `nn.conv`; `auto` on a CPU works on blocks.
            rngs: keys of the initial weights.
        """
        self.conv0 = conv.Conv(channels, 6, 5, padding="VALID", method=method, rngs=rngs)
        self.conv1 = conv.Conv(6, 16, 5, padding="VALID", method=method, rngs=rngs)
        for i, (rows, columns) in enumerate(itertools.pairwise((400, 120, 84, classes))):
            setattr(self, f"dense{i}", nnx.Linear(rows, columns, rngs=rngs))

    def __call__(self, x: Float[Array, "batch 32 32 channels"]) -> Float[Array, "batch classes"]:
        """Logits."""
        x = self._features(x).reshape(x.shape[0], -1)
        x = jax.nn.relu(_apply(self.dense0, x))
        x = jax.nn.relu(_apply(self.dense1, x))
        return _apply(self.dense2, x)

    def _features(self, x):
        """(batch, 32, 32, channels) -> (batch, 5, 5, 16)."""
        if self.conv0.method != "auto" or jax.default_backend() != "cpu":
            x = pool.max_pool(jax.nn.relu(self.conv0(x)), 2)
            return pool.max_pool(jax.nn.relu(self.conv1(x)), 2)
        x = blocks.cut(x, 4)
        for layer, size in ((self.conv0, 4), (self.conv1, 2)):
            # Bias and relu are monotone, so they may follow the maximum.
            x = blocks.conv_pool(x, layer.kernel[...], size)
            x = jax.nn.relu(x + jnp.tile(layer.bias[...], (size // 2) ** 2).reshape(1, 1, 1, -1))
        return x


def _apply(layer: nnx.Linear, x):
    return dense.dense(x, layer.kernel[...]) + layer.bias[...][None]
