"""The networks that are attacked, each with its representation apart from its last layer.

The active attack puts a second head on the representation, so a model here is two networks that
share their parameters: the classifier, and the same without its last layer.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from fl_jax.core import errors
from fl_jax.core.types import Array, Float, Int, PyTree
from fl_jax.nn import conv, network, pool

GLOROT = nnx.initializers.glorot_uniform()


class Model(NamedTuple):
    """A classifier that can be asked for its representation."""

    network: network.Network  # logits
    represent: Callable[..., Float[Array, "batch width"]]
    """(params of the network, x, *, key=None) -> the input of its last layer"""
    width: int  # of the representation


class ConvNet(nnx.Module):
    """3 x 3 convolutions with ReLU and 2 x 2 max pooling, a hidden layer, logits.

    Unpadded; pooling drops odd rows and columns. The default is the network of the paper's LFW
    experiments: 32, 64 and 128 channels, 256 hidden units, Glorot uniform weights.

    References:
        Melis et al. 2019, section VI; the authors' code.
    """

    def __init__(
        self,
        *,
        shape: tuple[int, int, int] = (62, 47, 3),
        classes: int = 2,
        channels: tuple[int, ...] = (32, 64, 128),
        hidden: int = 256,
        dropout: float = 0.0,
        method: str = "auto",
        rngs: nnx.Rngs,
    ):
        """
        Args:
            shape: (height, width, channels) of the images.
            classes: outputs; 0 leaves the last layer out.
            channels: of each convolution.
            hidden: units of the hidden layer.
            dropout: rate on the hidden layer's input and output, in training.
            method: of the convolutions, from `nn.conv`.
            rngs: keys of the initial weights.

        Raises:
            ConfigError: images too small for so many convolutions.
        """
        height, width, inputs = shape
        layers = []
        for outputs in channels:
            layers.append(
                conv.Conv(
                    inputs,
                    outputs,
                    3,
                    padding="VALID",
                    method=method,
                    kernel_init=GLOROT,
                    rngs=rngs,
                )
            )
            inputs, height, width = outputs, (height - 2) // 2, (width - 2) // 2
        if min(height, width) < 1:
            raise errors.ConfigError(
                f"images of {shape[0]} x {shape[1]} pixels are too small for {len(channels)}"
                " convolutions with pooling; take fewer channels entries."
            )
        self.convolutions = nnx.List(layers)
        self.hidden = nnx.Linear(height * width * inputs, hidden, kernel_init=GLOROT, rngs=rngs)
        self.dropout = nnx.Dropout(dropout)
        self.output = (
            nnx.Linear(hidden, classes, kernel_init=GLOROT, rngs=rngs) if classes else None
        )

    def __call__(
        self, x: Float[Array, "batch height width channels"], *, rngs: nnx.Rngs | None = None
    ) -> Float[Array, "batch _"]:
        for layer in self.convolutions:
            # Bias and ReLU are monotone: after the pooling they are the same on a quarter of
            # the values.
            x = pool.max_pool(conv.conv(x, layer.kernel[...], method=layer.method), 2)
            x = jax.nn.relu(x + layer.bias[...].reshape(1, 1, 1, -1))
        x = x.reshape(x.shape[0], -1)
        if rngs is not None:
            x = self.dropout(x, rngs=rngs)
        x = jax.nn.relu(self.hidden(x))
        if rngs is not None:
            x = self.dropout(x, rngs=rngs)
        return x if self.output is None else self.output(x)


class LeNet(nnx.Module):
    """Three 5 x 5 convolutions of 12 channels with sigmoids, strides 2, 2 and 1, and logits.

    Twice differentiable, with weights uniform in [-1/2, 1/2]: the network on which inputs are
    read off gradients by L-BFGS.

    References:
        Zhu, Liu, Han 2019, "Deep Leakage from Gradients", and the authors' code.
    """

    def __init__(
        self,
        *,
        shape: tuple[int, int, int],
        classes: int,
        method: str = "patches",
        rngs: nnx.Rngs,
    ):
        """Arguments as in `ConvNet`."""
        height, width, inputs = shape
        wide = lambda key, size, dtype: jax.random.uniform(key, size, dtype, -0.5, 0.5)
        layers = []
        for stride in (2, 2, 1):
            options = {"strides": stride, "padding": 2, "method": method, "kernel_init": wide}
            layers.append(conv.Conv(inputs, 12, 5, **options, rngs=rngs))
            inputs, height, width = 12, -(-height // stride), -(-width // stride)
        self.convolutions = nnx.List(layers)
        self.output = (
            nnx.Linear(height * width * inputs, classes, kernel_init=wide, rngs=rngs)
            if classes
            else None
        )

    def __call__(self, x: Float[Array, "batch height width channels"]) -> Float[Array, "batch _"]:
        for layer in self.convolutions:
            x = jax.nn.sigmoid(layer(x))
        x = x.reshape(x.shape[0], -1)
        return x if self.output is None else self.output(x)


class MLP(nnx.Module):
    """One hidden layer of ReLU units, for tables."""

    def __init__(
        self, *, features: int, classes: int = 2, hidden: int = 64, dropout: float = 0.0, rngs
    ):
        """Arguments as in `ConvNet`; `features` is the length of a record."""
        self.hidden = nnx.Linear(features, hidden, kernel_init=GLOROT, rngs=rngs)
        self.dropout = nnx.Dropout(dropout)
        self.output = (
            nnx.Linear(hidden, classes, kernel_init=GLOROT, rngs=rngs) if classes else None
        )

    def __call__(
        self, x: Float[Array, "batch features"], *, rngs: nnx.Rngs | None = None
    ) -> Float[Array, "batch _"]:
        x = jax.nn.relu(self.hidden(x))
        if rngs is not None:
            x = self.dropout(x, rngs=rngs)
        return x if self.output is None else self.output(x)


class BagOfWords(nnx.Module):
    """The mean of a text's word embeddings, a tanh layer, logits: no word, no gradient."""

    def __init__(
        self, *, vocabulary: int, classes: int = 2, width: int = 32, hidden: int = 32, rngs
    ):
        """`vocabulary` counts the words; a token below 0 is padding."""
        self.embedding = nnx.Param(0.1 * jax.random.normal(rngs.params(), (vocabulary, width)))
        self.hidden = nnx.Linear(width, hidden, kernel_init=GLOROT, rngs=rngs)
        self.output = (
            nnx.Linear(hidden, classes, kernel_init=GLOROT, rngs=rngs) if classes else None
        )

    def __call__(self, x: Int[Array, "batch length"]) -> Float[Array, "batch _"]:
        real = (x >= 0).astype(self.embedding.dtype)
        words = self.embedding[...][jnp.maximum(x, 0)] * real[..., None]
        count = jnp.maximum(real.sum(axis=1, keepdims=True), 1)
        # No ReLU: behind dead units a word would have no gradient although it is there.
        x = jnp.tanh(self.hidden(words.sum(axis=1) / count))
        return x if self.output is None else self.output(x)


def make(module: Callable[..., nnx.Module], **shape) -> Model:
    """The model of one of these modules.

    Args:
        module: takes `classes` (0 leaves the layer `output` out) and `rngs`.
        shape: its other arguments, with `classes` of the classifier.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> model = make(MLP, features=5, classes=2, hidden=7)
        >>> params, _ = model.network.init(jax.random.key(0))
        >>> model.represent(params, jnp.ones((3, 5))).shape, model.width
        ((3, 7), 7)
    """
    whole = network.from_nnx(lambda rngs: module(**shape, rngs=rngs))
    body = network.from_nnx(lambda rngs: module(**{**shape, "classes": 0}, rngs=rngs))

    def represent(params: PyTree, x, *, key=None):
        shared = {name: leaf for name, leaf in params.items() if name != "output"}
        return body.apply(shared, {}, x, train=key is not None, key=key)[0]

    params, _ = jax.eval_shape(whole.init, jax.random.key(0))
    return Model(whole, represent, params["output"]["kernel"].shape[0])
