"""From an update to what the property classifier sees.

The rules of the authors' code, in its order: biases are dropped and magnitudes taken; a
convolution keeps the largest of each filter's positions, unless it has more than 5,000 filters,
then it is left out; a matrix of more than 5,000 entries keeps the largest of each input's
row; all is laid side by side and brought to length 1. Standardising is the classifier's part.

References:
    Melis et al. 2019, section IV; the authors' code.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from fl_jax.core import errors, tree
from fl_jax.core.types import Array, Float, PyTree

LIMIT = 5_000  # entries of a layer beyond which it is reduced or dropped


class Extractor(NamedTuple):
    """The features of updates of one model."""

    extract: Callable[[PyTree], Float[Array, " features"]]
    """update -> features, of length 1 (all zero for a zero update)"""
    lengths: dict[str, int]  # features of each parameter, in order; 0 = dropped
    length: int


def make(params: PyTree, *, limit: int = LIMIT, positions: str = "max") -> Extractor:
    """The extractor for updates of the form of `params`.

    Args:
        params: arrays or shapes: convolutions (kh, kw, in, out), of another number of axes too if
            in and out are the last; (in, out) matrices; biases.
        limit: filters of a convolution, or entries of a matrix, up to which it is kept.
        positions: `max` or `mean` over the positions of a filter.

    Raises:
        ConfigError: no parameter yields a feature.

    Example:
        >>> import jax.numpy as jnp
        >>> found = make({"kernel": jnp.zeros((2, 3)), "bias": jnp.zeros(3)})
        >>> found.length, found.extract({"kernel": -jnp.ones((2, 3)), "bias": jnp.ones(3)})[0]
        (6, Array(0.40824828, dtype=float32))
    """
    over = {"max": jnp.max, "mean": jnp.mean}[
        errors.one_of("reduction", positions, ("max", "mean"))
    ]

    def reduce(leaf):
        size = jnp.abs(leaf.astype(jnp.float32))
        if leaf.ndim > 2:
            *places, inputs, outputs = leaf.shape
            if inputs * outputs > limit:
                return jnp.zeros(0, jnp.float32)
            found = over(size, axis=tuple(range(len(places))))
            return found.T.reshape(-1)  # (out, in), as in Theano and PyTorch
        if leaf.ndim == 2:
            return jnp.max(size, axis=-1) if leaf.size > limit else size.reshape(-1)
        return jnp.zeros(0, jnp.float32)

    def extract(update):
        flat = jnp.concatenate([reduce(leaf) for leaf in jax.tree.leaves(update)])
        # Near 1 first, by a power of two: squares of small or large numbers leave float32.
        flat = jnp.ldexp(flat, -jnp.frexp(jnp.max(flat))[1])
        norm = tree.norm(flat)
        return flat / jnp.where(norm > 0, norm, 1.0)

    lengths = {
        name: jax.eval_shape(reduce, leaf).shape[0]
        for name, leaf in tree.named_leaves(params).items()
    }
    length = sum(lengths.values())
    if not length:
        raise errors.ConfigError(
            "no parameter of this model yields a feature: all are biases or convolutions of more"
            f" than {limit} filters; raise `limit`."
        )
    return Extractor(extract, lengths, length)
