"""The convolutional network that federated learning is measured by."""

import jax
import jax.numpy as jnp
from flax import nnx

from fl_jax.core.types import Array, Float
from fl_jax.nn import conv, pool, winograd


class EMNIST(nnx.Module):
    """The EMNIST character network of "Adaptive Federated Optimization".

    conv 3x3x32, relu, conv 3x3x64, relu, max pool 2, dropout 0.25, dense 128, relu, dropout 0.5,
    dense 62; convolutions unpadded. 1,206,590 parameters, 23.9 MFLOP an image forward and 71.6
    in training (2 FLOP a multiply-add, no derivative with respect to the pixels).

    References:
        Reddi et al. 2021, "Adaptive Federated Optimization", appendix C.1; FedJAX
        `fedjax.models.emnist.create_conv_model`.
    """

    def __init__(
        self,
        *,
        classes: int = 62,
        dropout: tuple[float, float] = (0.25, 0.5),
        method: str = "auto",
        rngs: nnx.Rngs,
    ):
        """
        Args:
            classes: 62 characters, or 10 digits.
            dropout: rates after the convolutions and after the hidden layer.
            method: of the second convolution, from `nn.conv`.
            rngs: keys of the initial weights (truncated normal, variance 1 / fan-in).
        """
        self.conv1 = conv.Conv(1, 32, 3, padding="VALID", method=method, rngs=rngs)
        self.conv2 = conv.Conv(32, 64, 3, padding="VALID", method=method, rngs=rngs)
        self.hidden = nnx.Linear(12 * 12 * 64, 128, rngs=rngs)
        self.output = nnx.Linear(128, classes, rngs=rngs)
        self.dropout1 = nnx.Dropout(dropout[0])
        self.dropout2 = nnx.Dropout(dropout[1])

    def __call__(
        self, x: Float[Array, "batch height width channels"], *, rngs: nnx.Rngs | None = None
    ) -> Float[Array, "batch classes"]:
        """Logits.

        Args:
            x: images (batch, 28, 28, 1).
            rngs: keys of the dropout; without them, and after `eval()`, nothing is dropped.

        Raises:
            ValueError: images of another shape.
        """
        if x.shape[1:] != (28, 28, 1):
            raise ValueError(f"expected images of shape (n, 28, 28, 1), got {x.shape}.")
        x = features(x, self.conv1, self.conv2).reshape(x.shape[0], -1)
        if rngs is not None:
            x = self.dropout1(x, rngs=rngs)
        x = jax.nn.relu(self.hidden(x))
        if rngs is not None:
            x = self.dropout2(x, rngs=rngs)
        return self.output(x)


def features(
    x: Float[Array, "n h w c"], first: conv.Conv, second: conv.Conv
) -> Float[Array, "n ho wo o"]:
    """conv, relu, conv, relu, max pool 2; both kernels 3 x 3, unpadded, stride 1.

    Where the second convolution is a Winograd convolution, everything happens on its tiles, which
    h - 4 and w - 4 must be multiples of four for.
    """
    kernel = second.kernel[...]
    if conv.resolve(second.method, kernel.shape, (1, 1)) != "winograd":
        return pool.max_pool(jax.nn.relu(second(jax.nn.relu(first(x)))), 2)
    # Each tile has the 8 x 8 pixels that both convolutions need.
    tiles = winograd.cut(x, winograd.TILE + 2)
    shifted = [tiles[a : a + 6, b : b + 6] for a in range(3) for b in range(3)]
    patches = jnp.concatenate([*shifted, jnp.ones_like(shifted[0][..., :1])], axis=-1)
    rows = 9 * x.shape[-1]
    # The bias is one more pixel: so its derivative needs no pass of its own.
    both = jnp.concatenate([first.kernel[...].reshape(rows, -1), first.bias[...].reshape(1, -1)])
    x = jax.nn.relu(patches.reshape(-1, rows + 1) @ both)
    y = winograd.conv(x.reshape(*patches.shape[:-1], -1), kernel)
    # Bias and relu are monotone, so they may follow the maximum.
    return jax.nn.relu(winograd.max_pool(*y) + second.bias[...].reshape(1, 1, 1, -1))
