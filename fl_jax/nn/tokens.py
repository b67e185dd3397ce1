"""Tokens that a language model is given, and the mask of those that are there."""

import jax
import jax.numpy as jnp
import numpy as np

from fl_jax.core import errors


def check_tokens(tokens, vocab: int) -> None:
    """Refuses ids outside the vocabulary, which indexing would clamp in silence.

    Args:
        tokens: integers (batch, time).
        vocab: how many ids there are.

    Raises:
        DataError: with the first id that is none. Traced tokens cannot be looked at and pass.
            What is no array of integers (batch, time) is refused in any case.
    """
    if not hasattr(tokens, "dtype"):
        raise errors.DataError(
            f"tokens are an array of integers (batch, time), got a {type(tokens).__name__}; pad"
            " lists of tokens to one length, as `fl_jax.bloom.generate.pad_left` does."
        )
    if tokens.ndim < 2 or not tokens.shape[-1] or not jnp.issubdtype(tokens.dtype, jnp.integer):
        raise errors.DataError(
            f"tokens are integers of shape (batch, time), one at least, got {tokens.dtype} of shape"
            f" {tokens.shape}; give one text as tokens[None]."
        )
    if isinstance(tokens, jax.core.Tracer) or tokens.size == 0:
        return
    held = np.asarray(tokens)  # not jnp: a constant inside a trace can be looked at, too
    low, high = int(held.min()), int(held.max())
    if low < 0 or high >= vocab:
        raise errors.DataError(
            f"tokens must be ids from 0 to {vocab - 1}, but there is a"
            f" {low if low < 0 else high}; encode the text with the tokenizer that belongs to this"
            " model."
        )


def check_mask(mask, tokens) -> None:
    """Refuses a mask that does not say of every token whether it is there.

    Raises:
        DataError: no array, or of another shape than the tokens. None is no mask and passes.
    """
    if mask is not None and not hasattr(mask, "shape"):
        raise errors.DataError(
            f"a mask is an array (batch, time), got a {type(mask).__name__}; give np.asarray(mask)."
        )
    if mask is not None and mask.shape != tokens.shape:
        raise errors.DataError(
            f"the mask has a value for every token, {tokens.shape}, but {mask.shape} came."
        )
