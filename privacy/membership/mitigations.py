"""What a target can do to its answers: pure functions of probability vectors.

They change the output alone, so one model can be asked behind each of them
[Shokri et al. 2017, section VIII].
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from fl_jax.core import errors
from fl_jax.core.types import Array, Float

Mitigation = Callable[[Float[Array, "records classes"]], Float[Array, "records classes"]]


def top_k(k: int) -> Mitigation:
    """Keeps the k largest probabilities of a record and sets the others to 0.

    Example:
        >>> import jax.numpy as jnp
        >>> print(top_k(2)(jnp.array([[0.5, 0.2, 0.3]])))
        [[0.5 0.  0.3]]
    """
    errors.whole("k", k, 1)

    def apply(outputs):
        kept = min(k, outputs.shape[-1])
        values, places = jax.lax.top_k(outputs, kept)  # exactly k, ties by the lower index
        rows = jnp.arange(outputs.shape[0])[:, None]
        return jnp.zeros_like(outputs).at[rows, places].set(values)

    return apply


def label_only() -> Mitigation:
    """1 for the most probable class and 0 for the others: the label alone."""

    def apply(outputs):
        return jax.nn.one_hot(jnp.argmax(outputs, -1), outputs.shape[-1], dtype=outputs.dtype)

    return apply


def rounded(digits: int) -> Mitigation:
    """Every probability to so many digits behind the point.

    Example:
        >>> import jax.numpy as jnp
        >>> print(rounded(1)(jnp.array([[0.46, 0.54]])))
        [[0.5 0.5]]
    """
    errors.whole("digits", digits)
    return lambda outputs: jnp.round(outputs, digits)


def temperature(t: float) -> Mitigation:
    """Softmax of the logits divided by t; a larger t flattens the answer.

    From probabilities it is p_c^(1/t) / sum p^(1/t), for softmax forgets only a constant.

    Example:
        >>> import jax.numpy as jnp
        >>> round(float(temperature(2.0)(jnp.array([[0.8, 0.2]]))[0, 0]), 3)
        0.667
    """
    errors.positive("temperature", t)

    def apply(outputs):
        tiny = jnp.finfo(outputs.dtype).tiny
        return jax.nn.softmax(jnp.log(jnp.maximum(outputs, tiny)) / t, axis=-1)

    return apply
