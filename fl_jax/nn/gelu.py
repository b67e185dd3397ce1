"""The GELU of language models, with a derivative that keeps only its input."""

import math

import jax
import jax.numpy as jnp

from fl_jax.core import dtypes
from fl_jax.core.types import Array, Float

_SLOPE, _CUBE = math.sqrt(2 / math.pi), 0.044715


@jax.custom_vjp
def gelu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) [Hendrycks & Gimpel 2016, section 2].

    What a compiler keeps of a plain one for the derivative, tanh among it, are arrays as large as
    x; on a CPU writing and reading them takes longer than to compute them again.
    """
    return jax.nn.gelu(x, approximate=True)


def _forward(x):
    return gelu(x), x


def _backward(x, dy):
    wide = x.astype(dtypes.wide(x.dtype))
    square = wide * wide
    t = jnp.tanh(_SLOPE * wide * (1 + _CUBE * square))
    slope = 0.5 * (1 + t) + 0.5 * wide * (1 - t * t) * (_SLOPE * (1 + 3 * _CUBE * square))
    return ((dy.astype(wide.dtype) * slope).astype(x.dtype),)


gelu.defvjp(_forward, _backward)
