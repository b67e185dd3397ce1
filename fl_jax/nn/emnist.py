"""The convolutional network that federated learning is measured by."""

import jax
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
        x = self._features(x).reshape(x.shape[0], -1)
        if rngs is not None:
            x = self.dropout1(x, rngs=rngs)
        x = jax.nn.relu(self.hidden(x))
        if rngs is not None:
            x = self.dropout2(x, rngs=rngs)
        return self.output(x)

    def _features(self, x):
        """Both convolutions and the pooling: (batch, 28, 28, 1) -> (batch, 12, 12, 64)."""
        kernel = self.conv2.kernel[...]
        if conv.resolve(self.conv2.method, kernel.shape, (1, 1)) != "winograd":
            x = jax.nn.relu(self.conv1(x))
            return pool.max_pool(jax.nn.relu(self.conv2(x)), 2)
        # The same in phases. Phase (p, q) of the first convolution is a convolution of stride 2
        # that starts at pixel (p, q); bias and relu are monotone, so they may follow the maximum.
        first, bias = self.conv1.kernel[...], self.conv1.bias[...].reshape(1, 1, 1, -1)
        phase = lambda p, q: conv.conv(x[:, p:, q:], first, strides=2, method="patches") + bias
        phases = [[jax.nn.relu(phase(p, q)) for q in (0, 1)] for p in (0, 1)]
        largest = pool.max_of_phases(winograd.conv(phases, kernel))
        return jax.nn.relu(largest + self.conv2.bias[...].reshape(1, 1, 1, -1))
