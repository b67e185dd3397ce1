"""Membership of texts in a language model's training set, from its tokens' log-likelihoods.

Every function takes (texts, tokens) arrays with a mask of the tokens that count and returns one
number a text, larger for members. `statistics` gives what they need from logits, `from_bloom`
from a model of `fl_jax.bloom`.
"""

import zlib
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fl_jax.bloom import model
from fl_jax.bloom.config import Config
from fl_jax.core import errors
from fl_jax.core.types import Array, Float, Int, PyTree


class Tokens(NamedTuple):
    """What a model says about each token; (texts, tokens) each."""

    log_p: Float[Array, "texts tokens"]  # of the token that came
    mean: Float[Array, "texts tokens"]  # of log p over the vocabulary, under p
    deviation: Float[Array, "texts tokens"]  # and its standard deviation


def statistics(
    logits: Float[Array, "texts tokens vocabulary"], labels: Int[Array, "texts tokens"]
) -> Tokens:
    """log p of the labels, and mean and deviation of log p under the model itself.

    Args:
        logits: of any float dtype; float32 inside.
        labels: the tokens that came, aligned with the logits that predict them.
    """
    log_p = jax.nn.log_softmax(logits.astype(jnp.float32), axis=-1)
    p = jnp.exp(log_p)
    safe = jnp.where(p > 0, log_p, 0.0)
    mean = jnp.sum(p * safe, axis=-1)
    square = jnp.sum(p * jnp.square(safe - mean[..., None]), axis=-1)
    picked = jnp.take_along_axis(log_p, labels[..., None], axis=-1)[..., 0]
    return Tokens(picked, mean, jnp.sqrt(square))


def from_bloom(params: PyTree, config: Config, tokens: Int[Array, "texts length"]) -> Tokens:
    """Statistics of tokens[:, 1:], each from the tokens before it."""
    logits = model.apply(params, config, tokens[:, :-1])
    return statistics(logits, tokens[:, 1:])


def _masked(values, mask):
    values, mask = np.asarray(values, np.float64), np.asarray(mask, bool)
    if values.shape != mask.shape or values.ndim != 2:
        raise errors.DataError(
            "log-likelihoods and mask need one shape (texts, tokens), got"
            f" {values.shape} and {mask.shape}."
        )
    if not mask.any(1).all():
        raise errors.DataError(f"text {int(np.argmin(mask.any(1)))} has no token that counts.")
    unknown = np.isnan(np.where(mask, values, 0)).any(1)
    if unknown.any():
        raise errors.DataError(
            f"the likelihoods of {int(unknown.sum())} texts are NaN, first of text"
            f" {int(np.argmax(unknown))}; mask such tokens, or look for a model that diverged."
        )
    return values, mask


def loss(log_p: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Mean log-likelihood per token [Yeom et al. 2018].

    Example:
        >>> loss(np.array([[-1.0, -3.0, 0.0]]), np.array([[True, True, False]])).tolist()
        [-2.0]
    """
    log_p, mask = _masked(log_p, mask)
    return np.where(mask, log_p, 0).sum(1) / mask.sum(1)


def zlib_ratio(log_p: np.ndarray, mask: np.ndarray, texts: Sequence[str]) -> np.ndarray:
    """Log-likelihood of the text over its bytes after zlib [Carlini et al., USENIX Sec. 2021]."""
    log_p, mask = _masked(log_p, mask)
    if len(texts) != len(log_p):
        raise errors.DataError(f"got {len(texts)} texts for {len(log_p)} rows of likelihoods.")
    # half a surrogate pair, as JSON may hold, has three bytes as well
    sizes = [len(zlib.compress(text.encode("utf-8", "surrogatepass"))) for text in texts]
    return np.where(mask, log_p, 0).sum(1) / np.array(sizes)


def reference(log_p: np.ndarray, reference_log_p: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Mean log-likelihood less that of a reference model [Carlini et al. 2021]."""
    return loss(log_p, mask) - loss(reference_log_p, mask)


def neighbourhood(own: np.ndarray, neighbours: np.ndarray) -> np.ndarray:
    """A text's score less the mean of those of its neighbours [Mattern et al., ACL 2023].

    Args:
        own: (texts,) of `loss`.
        neighbours: (texts, neighbours) of `loss`, of texts with a few words replaced.
    """
    own, neighbours = np.asarray(own, np.float64), np.asarray(neighbours, np.float64)
    if neighbours.ndim != 2 or own.shape != neighbours.shape[:1] or not neighbours.shape[1]:
        raise errors.DataError(
            "every text needs a score and those of as many neighbours, one at least, got"
            f" {own.shape} and {neighbours.shape}."
        )
    found = own - neighbours.mean(axis=1)
    if np.isnan(found).any():
        raise errors.DataError(
            f"the scores of {int(np.isnan(found).sum())} texts or of their neighbours are NaN."
        )
    return found


def min_k(log_p: np.ndarray, mask: np.ndarray, *, share: float = 0.2) -> np.ndarray:
    """Mean of the lowest share of the token log-likelihoods, one at least [Shi et al. 2024].

    Example:
        >>> values = np.array([[-1.0, -5.0, -2.0, -3.0]])
        >>> min_k(values, np.ones((1, 4), bool), share=0.5).tolist()
        [-4.0]
    """
    if not 0 < share <= 1:
        raise errors.ConfigError(f"the share of tokens lies in (0, 1], got {share}.")
    log_p, mask = _masked(log_p, mask)
    ordered = np.sort(np.where(mask, log_p, np.inf), axis=1)
    count = np.maximum(1, (mask.sum(1) * share).astype(int))
    kept = np.arange(ordered.shape[1])[None] < count[:, None]
    return np.where(kept, ordered, 0).sum(1) / count


def min_k_plus(tokens: Tokens, mask: np.ndarray, *, share: float = 0.2) -> np.ndarray:
    """Min-K% of (log p - mean) / deviation, token by token: Min-K%++ [Zhang et al. 2024].

    Where the model is certain of one token (deviation 0) the token is as expected: 0.
    """
    log_p, mean, deviation = (np.asarray(v, np.float64) for v in tokens)
    certain = deviation <= 1e-12  # not so of NaN, which is refused
    ratio = np.where(certain, 0.0, (log_p - mean) / np.where(certain, 1.0, deviation))
    return min_k(ratio, mask, share=share)


def recall(log_p: np.ndarray, conditional: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Log-likelihood behind a prefix of non-members over that without [ReCaLL, Xie et al. 2024].

    Args:
        log_p: of the texts by themselves.
        conditional: of the same tokens behind the prefix.

    Raises:
        DataError: a text whose likelihood by itself is 1, which no ratio has.
    """
    alone = loss(log_p, mask)
    if (alone == 0).any():
        raise errors.DataError(f"text {int(np.argmax(alone == 0))} has a likelihood of 1.")
    return loss(conditional, mask) / alone
