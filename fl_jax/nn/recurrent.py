"""LSTM layers, and the language model with tied output that stands on them.

A scan over time is a chain of small products. What need not be in the chain is outside it: the
inputs' part of all gates is one product before the scan, and the gradients of the weights are one
product each after the backward scan, over all times at once, instead of a sum that the backward
scan reads and writes at every step.
"""

import functools

import jax
import jax.numpy as jnp

from fl_jax.core import errors
from fl_jax.core.types import Array, Float, Int, Key, PyTree
from fl_jax.nn import chunked_loss


def init(key: Key[Array, ""], inputs: int, width: int, *, scale: float) -> dict[str, Array]:
    """The weights of one layer, uniform in (-scale, scale), bias 0."""
    one, two = jax.random.split(key)
    draw = lambda k, n: jax.random.uniform(k, (n, 4 * width), minval=-scale, maxval=scale)
    return {"input": draw(one, inputs), "hidden": draw(two, width), "bias": jnp.zeros(4 * width)}


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def lstm(
    weights: dict[str, Array], x: Float[Array, "time batch inputs"], forget_bias: float = 0.0
) -> Float[Array, "time batch width"]:
    """The hidden states of one layer, from zeros.

    i, g, f, o = x_t W_x + h_{t-1} W_h + b;  c_t = sigm(f + forget_bias) c_{t-1} + sigm(i) tanh(g);
    h_t = sigm(o) tanh(c_t).

    Args:
        weights: `input` (inputs, 4 width), `hidden` (width, 4 width), `bias` (4 width,).
        x: the inputs, time first.
        forget_bias: 1 in Haiku, 0 in PyTorch, whose two biases are one here.

    References:
        Hochreiter, Schmidhuber 1997; Gers et al. 2000 (the forget gate).
    """
    return _forward(weights, x, forget_bias)[0]


def _forward(weights, x, forget_bias):
    batch, width = x.shape[1], weights["hidden"].shape[0]
    from_inputs = _flat(x) @ weights["input"] + weights["bias"][None]
    from_inputs = from_inputs.reshape(x.shape[0], batch, 4 * width)

    def step(carry, inputs):
        h, c = carry
        i, g, f, o = jnp.split(inputs + h @ weights["hidden"], 4, axis=-1)
        i, f, o, g = (
            jax.nn.sigmoid(i),
            jax.nn.sigmoid(f + forget_bias),
            jax.nn.sigmoid(o),
            jnp.tanh(g),
        )
        new = f * c + i * g
        out = o * jnp.tanh(new)
        return (out, new), (out, c, jnp.concatenate([i, g, f, o], axis=-1))

    zeros = jnp.zeros((batch, width), x.dtype)
    _, (h, before, gates) = jax.lax.scan(step, (zeros, zeros), from_inputs)
    return h, (weights, x, h, before, gates)


def _backward(forget_bias, saved, dh):
    del forget_bias
    weights, x, h, before, gates = saved
    transposed = weights["hidden"].T

    def step(carry, inputs):
        dh_next, dc = carry
        dh, c, gates = inputs
        i, g, f, o = jnp.split(gates, 4, axis=-1)
        dh = dh + dh_next
        squashed = jnp.tanh(f * c + i * g)
        dc = dc + dh * o * (1 - squashed * squashed)
        dgates = jnp.concatenate(
            [
                dc * g * i * (1 - i),
                dc * i * (1 - g * g),
                dc * c * f * (1 - f),
                dh * squashed * o * (1 - o),
            ],
            axis=-1,
        )
        return (dgates @ transposed, dc * f), dgates

    zeros = jnp.zeros_like(h[0])
    _, dgates = jax.lax.scan(step, (zeros, zeros), (dh, before, gates), reverse=True)
    flat = _flat(dgates)
    earlier = jnp.concatenate([zeros[None], h[:-1]])
    gradient = {
        "input": _flat(x).T @ flat,
        "hidden": _flat(earlier).T @ flat,
        "bias": jnp.sum(flat, axis=0),
    }
    return gradient, (flat @ weights["input"].T).reshape(x.shape)


lstm.defvjp(lambda weights, x, forget_bias: _forward(weights, x, forget_bias), _backward)


def _flat(a):
    """(time, batch, n) as rows."""
    return a.reshape(-1, a.shape[-1])


def stack(
    layers: list[dict[str, Array]],
    x: Float[Array, "time batch inputs"],
    *,
    forget_bias: float = 0.0,
    dropout: float = 0.0,
    key: Key[Array, ""] | None = None,
) -> Float[Array, "time batch width"]:
    """Layers one on the other, with dropout before each and after the last.

    References:
        Zaremba, Sutskever, Vinyals 2014, "Recurrent Neural Network Regularization".
    """
    x = _drop(x, dropout, key, 0)
    for n, weights in enumerate(layers):
        x = _drop(lstm(weights, x, forget_bias), dropout, key, n + 1)
    return x


def _drop(x, rate: float, key, n: int):
    if key is None or not rate:
        return x
    kept = jax.random.bernoulli(jax.random.fold_in(key, n), 1 - rate, x.shape)
    return jnp.where(kept, x / (1 - rate), 0.0)


def language_model(
    key: Key[Array, ""], *, vocabulary: int, width: int, layers: int = 2, scale: float = 0.1
) -> dict[str, PyTree]:
    """The parameters of a word model whose output matrix is its embedding.

    With 50,000 words, width 200 and two layers these are 10,691,600 numbers, the model of the
    backdoor paper (10,693,200 in PyTorch, which has a second, redundant bias a layer).
    """
    errors.positive("vocabulary", vocabulary)
    errors.positive("width", width)
    keys = jax.random.split(key, layers + 1)
    uniform = jax.random.uniform(keys[0], (vocabulary, width), minval=-scale, maxval=scale)
    return {
        "embedding": uniform,
        "layers": [init(k, width, width, scale=scale) for k in keys[1:]],
        "bias": jnp.zeros(vocabulary),
    }


def states(
    params: dict[str, PyTree],
    words: Int[Array, "batch time"],
    *,
    dropout: float = 0.0,
    key: Key[Array, ""] | None = None,
) -> Float[Array, "batch time width"]:
    """What the output layer sees after every word."""
    x = params["embedding"][words.T]
    return jnp.swapaxes(stack(params["layers"], x, dropout=dropout, key=key), 0, 1)


def cross_entropy(
    params: dict[str, PyTree],
    hidden: Float[Array, "batch time width"],
    labels: Int[Array, "batch time"],
    weights: Float[Array, "batch time"],
) -> Float[Array, ""]:
    """sum of weight * -log p(label), the logits existing only chunk by chunk.

    The bias is a further column of the table, met by a one in every state.
    """
    table = jnp.concatenate([params["embedding"], params["bias"][:, None]], axis=1)
    ones = jnp.ones((*hidden.shape[:2], 1), hidden.dtype)
    return chunked_loss.summed(jnp.concatenate([hidden, ones], axis=2), table, labels, weights)


def logits(params: dict[str, PyTree], hidden: Float[Array, "*batch width"]):
    """The scores of all words."""
    return hidden @ params["embedding"].T + params["bias"]
