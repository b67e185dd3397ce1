"""What may follow what was said: rules on logits that look at the text so far."""

import jax.numpy as jnp

from fl_jax.core.types import Array, Bool, Float, Int


def penalise(
    logits: Float[Array, "batch vocab"],
    text: Int[Array, "batch time"],
    there: Bool[Array, "batch time"],
    penalty: float,
) -> Float[Array, "batch vocab"]:
    """Logits of tokens that the text has, over the penalty where they are above 0, else times it.

    Args:
        logits: of the next token.
        text: the prompt and what was drawn so far, filled up to any length.
        there: False where nothing is written, and in padding, which is no text.
        penalty: theta; 1 changes nothing.

    References:
        Keskar et al. 2019, "CTRL", section 4.1; the sign is looked at as in transformers.
    """
    rows = jnp.arange(len(text))[:, None]
    seen = jnp.zeros(logits.shape, bool).at[rows, text].max(there)
    told = jnp.where(logits > 0, logits / penalty, logits * penalty)
    return jnp.where(seen, told, logits)


def repeats(
    text: Int[Array, "batch time"],
    there: Bool[Array, "batch time"],
    length: Int[Array, ""],
    size: int,
    vocab: int,
) -> Bool[Array, "batch vocab"]:
    """The tokens that would end a run of `size` tokens which the text already has.

    Args:
        text, there: as for `penalise`.
        length: places of `text` up to the next token.
        size: n of the n-grams, at least 1.
        vocab: number of tokens.

    References:
        Paulus et al. 2017, "A Deep Reinforced Model for Abstractive Summarization", section 2.5.
    """
    rows, time = jnp.arange(len(text))[:, None], text.shape[1]
    if time < size:
        return jnp.zeros((len(text), vocab), bool)
    places = jnp.arange(time - size + 1)
    found = there[:, size - 1 :] & (places + size - 1 < length)[None]
    for k in range(size - 1):
        last = length - (size - 1) + k
        asked = jnp.take(text, last, axis=1, mode="clip")[:, None]
        written = jnp.take(there, last, axis=1, mode="clip")[:, None] & (last >= 0)
        run = text[:, k : k + len(places)], there[:, k : k + len(places)]
        found &= (run[0] == asked) & run[1] & written
    return jnp.zeros((len(text), vocab), bool).at[rows, text[:, size - 1 :]].max(found)


def without(
    logits: Float[Array, "batch vocab"], banned: Bool[Array, "batch vocab"]
) -> Float[Array, "batch vocab"]:
    """-inf where a token is banned; a row that would have no token left stays as it is."""
    banned &= ~jnp.all(banned, axis=-1, keepdims=True)
    return jnp.where(banned, -jnp.inf, logits)
