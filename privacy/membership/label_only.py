"""Membership from labels alone: members stay right when they are disturbed.

The model answers with its label for the record and for disturbed copies; the share of right
answers is the score [Choquette-Choo et al., ICML 2021]. For binary records the copies have bits
flipped, for images they are shifted, for anything else Gaussian noise stands for the distance to
the boundary.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from fl_jax.core import errors, rng
from fl_jax.core.types import Array, Key
from privacy.membership.target import BlackBox

Disturb = Callable[[Array, Array], Array]
"""(key, records) -> records, each disturbed by itself"""


def flips(rate: float) -> Disturb:
    """Every binary feature, a number or bool, flipped with this probability."""
    if not 0 < rate < 1:
        raise errors.ConfigError(f"a flip rate lies between 0 and 1, got {rate}.")

    def disturb(key, x):
        turned = jax.random.bernoulli(key, rate, x.shape)
        other = ~x if x.dtype == bool else jnp.ones((), x.dtype) - x
        return jnp.where(turned, other, x)

    return disturb


def gaussian(deviation: float) -> Disturb:
    """Normal noise on every feature; the records must be floating-point."""
    errors.positive("deviation", deviation)

    def disturb(key, x):
        if not jnp.issubdtype(x.dtype, jnp.floating):
            raise errors.DataError(
                f"noise is added to floating-point records, but {x.dtype} came; convert them, or"
                " flip bits."
            )
        return x + deviation * jax.random.normal(key, x.shape, x.dtype)

    return disturb


def shifts(pixels: int) -> Disturb:
    """Images (n, h, w, c) moved by up to so many pixels each way, zeros from outside."""
    errors.whole("pixels", pixels, 1)

    def disturb(key, x):
        moves = jax.random.randint(key, (x.shape[0], 2), 0, 2 * pixels + 1)
        wide = jnp.pad(x, ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0)))

        def one(image, move):
            start = (move[0], move[1], jnp.zeros((), move.dtype))
            return jax.lax.dynamic_slice(image, start, x.shape[1:])

        return jax.vmap(one)(wide, moves)

    return disturb


def gap(box: BlackBox, x: np.ndarray | Array, labels: np.ndarray) -> np.ndarray:
    """(records,) 1.0 where the label is right: the baseline that knows nothing but accuracy
    [Yeom et al., CSF 2018]. One query a record.

    Raises:
        DataError: not one label a record; nothing was asked.
    """
    labels = np.asarray(labels)
    if labels.shape != (len(x),):
        raise errors.DataError(
            f"every record needs one label, but {len(x)} records and labels {labels.shape} came."
        )
    return (box.query(x).argmax(-1) == labels).astype(np.float64)


def robustness(
    box: BlackBox,
    x: np.ndarray,
    labels: np.ndarray,
    disturb: Disturb,
    key: Key[Array, ""],
    *,
    copies: int = 32,
) -> np.ndarray:
    """(records,) share of right labels over the record and its disturbed copies.

    Args:
        box: asked `copies + 1` times a record; only the label of each answer is used.
        x, labels: the audited records.
        disturb: from this module.
        key: copy i of every record belongs to fold(key, i).
        copies: disturbed copies a record.
    """
    errors.whole("copies", copies, 1)
    right = gap(box, x, labels)
    moved = jax.jit(disturb)
    resident = jnp.asarray(x)
    for i in range(copies):
        right += gap(box, moved(rng.fold(key, i), resident), labels)
    return right / (copies + 1)
