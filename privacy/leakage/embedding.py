"""Membership from the embedding layer: a word that is in no text of the batch has no gradient.

The rows of the embedding's gradient that are not zero are the vocabulary of the batch. A text
whose words are all among them is taken for a member: no member is ever missed, and what is
wrongly taken for one grows with the batch.

References:
    Melis et al. 2019, section IV-B, Algorithm 2.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from fl_jax.core import errors
from fl_jax.core.types import Array, Bool, Float, Int


class Vocabulary(NamedTuple):
    """The words behind an update."""

    support: Bool[Array, " words"]  # which occur in the batch
    norms: Float[Array, " words"]  # of each row of the gradient: see what the threshold does


def vocabulary(
    gradient: Float[Array, "words width"], *, threshold: float | Float[Array, ""] = 0.0
) -> Vocabulary:
    """The words whose rows have an entry above the threshold.

    Weight decay, momentum, Adam or noise leave no row at zero, and a gradient found by
    differencing models carries rounding where the adversary's own batch touched a row
    (`collaborative.roundoff` bounds it); then give a threshold and look at `norms`. A word can
    be missed where its gradient vanishes: behind dead units, masks, or clipped to nothing.

    Args:
        gradient: of the embedding matrix, a row a word.
        threshold: largest magnitude that counts as nothing; exactly zero by default.
    """
    size = jnp.abs(gradient)
    # A row of NaN is not nothing: its word is there.
    support = ~(jnp.max(size, axis=1) <= threshold)
    return Vocabulary(support, jnp.sqrt(jnp.sum(size**2, axis=1)))


def members(
    support: Bool[Array, " words"], texts: Int[Array, "texts length"]
) -> Bool[Array, " texts"]:
    """Whether every word of a text is in the vocabulary; tokens below 0 are padding.

    A text without words is refused by nobody: it is a member of every batch. A word beyond the
    vocabulary is in none.
    """
    seen = support.at[jnp.maximum(texts, 0)].get(mode="fill", fill_value=False)
    return jnp.all(seen | (texts < 0), axis=1)


class Quality(NamedTuple):
    """Of a decision on as many members as non-members."""

    precision: float
    recall: float


def quality(inside: Bool[Array, " n"], outside: Bool[Array, " m"]) -> Quality:
    """Precision and recall of what was said of members and of non-members, weighted equally."""
    hit, wrong = jnp.mean(inside.astype(jnp.float32)), jnp.mean(outside.astype(jnp.float32))
    precision = jnp.where(hit + wrong > 0, hit / jnp.maximum(hit + wrong, 1e-30), 0.0)
    return Quality(float(precision), float(jax.device_get(hit)))


def truncate(texts: Int[Array, "texts length"], size: int) -> Int[Array, "texts length"]:
    """The defence: only words 0 ... size - 1 (the most frequent) are kept, the others padding."""
    if size < 1:
        raise errors.ConfigError(f"a vocabulary keeps at least one word, got {size}.")
    return jnp.where(texts < size, texts, -1)
