"""Noise that is correlated over rounds: independent draws z in, the rounds' y = C^-1 z out.

C is lower-triangular, so that a round's noise needs the draws up to it; how few of them, or of what
came out, have to be kept decides what a factor C costs in memory. Factors and what they cost in
privacy: `privacy.factorization`.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fl_jax.core import errors, tree
from fl_jax.core.types import Array, Int, PyTree


class Correlation(NamedTuple):
    """A factor C, applied round by round."""

    init: Callable[[PyTree], PyTree]
    """tree like the noise -> state; leaves (memory, ...)"""
    step: Callable[[PyTree, Int[Array, ""], PyTree], tuple[PyTree, PyTree]]
    """(the round's draw z, number of the round, state) -> (the round's noise y, state); linear"""
    rounds: int  # for how many rounds C is
    memory: int  # copies of the model that the state holds


def banded(coefficients: np.ndarray, rounds: int) -> Correlation:
    """y_t = (z_t - sum_{k=1}^{b-1} C[t, t-k] y_{t-k}) / C[t, t]: the last b - 1 outputs are kept.

    Args:
        coefficients: (b,) of a Toeplitz C (`toeplitz.optimise`), or (rounds, b) with C[t, t - k] in
            row t and column k (`banded.rows`); used in float32.
        rounds: n.

    Raises:
        ConfigError: another shape, numbers that are not finite, or a diagonal not above 0.

    References:
        Choquette-Choo et al. 2023, "(Amplified) Banded Matrix Factorization", Algorithm 9;
        McKenna 2024, "Scaling up the Banded Matrix Factorization Mechanism for Differentially
        Private ML".
    """
    errors.whole("rounds", rounds, least=1)
    c = np.asarray(coefficients, np.float32)
    general = c.ndim == 2
    if c.ndim not in (1, 2) or not c.size or (general and c.shape[0] != rounds):
        raise errors.ConfigError(
            f"the coefficients of C are (bands,), or ({rounds}, bands) for {rounds} rounds, got an"
            f" array of shape {c.shape}."
        )
    if not np.all(np.isfinite(c)) or not np.all(c[..., 0] > 0):
        raise errors.ConfigError(
            "the coefficients of C must be finite, and those of its diagonal above 0."
        )
    kept = c.shape[-1] - 1
    c = jnp.asarray(c)

    def step(drawn, round, state):
        row = c[jnp.minimum(round, rounds - 1)] if general else c
        if not kept:
            return _divide(drawn, row[0]), state
        # y_{t-k} stands in place (t - k) mod (b - 1); before the first round there are zeros
        weights = row[1 + (round - 1 - jnp.arange(kept)) % kept]
        out = _divide(tree.sub(drawn, _weigh(weights, state)), row[0])
        return out, _put(state, round % kept, out)

    return Correlation(lambda like: _places(kept, like), step, rounds, kept)


def buffered(weights: np.ndarray, decays: np.ndarray, rounds: int) -> Correlation:
    """y_t = z_t - sum_j s_j, then s_j <- decays_j s_j + weights_j y_t: as many models as buffers.

    The C of `factorization.buffered`, with all n bands.

    Args:
        weights, decays: (buffers,); used in float32.
        rounds: n.

    Raises:
        ConfigError: another shape, weights that are not finite, or a decay outside [0, 1).

    References:
        Dvijotham et al. 2024, "Efficient and Near-Optimal Noise Generation for Streaming
        Differential Privacy".
    """
    errors.whole("rounds", rounds, least=1)
    weights, decays = np.asarray(weights, np.float32), np.asarray(decays, np.float32)
    if weights.ndim != 1 or weights.shape != decays.shape or not weights.size:
        raise errors.ConfigError(
            f"a buffer has one weight and one decay, got arrays of shapes {weights.shape} and"
            f" {decays.shape}."
        )
    if not np.all(np.isfinite(weights)) or not np.all((decays >= 0) & (decays < 1)):
        raise errors.ConfigError("weights must be finite, and decays lie in [0, 1).")

    def step(drawn, round, state):
        del round
        out = tree.sub(drawn, jax.tree.map(lambda a: jnp.sum(a, axis=0), state))
        along = lambda v, a: jnp.asarray(v, a.dtype).reshape(-1, *[1] * (a.ndim - 1))
        after = lambda a, y: along(decays, a) * a + along(weights, a) * y[None]
        return out, jax.tree.map(after, state, out)

    return Correlation(lambda like: _places(weights.size, like), step, rounds, weights.size)


def binary_tree(rounds: int) -> Correlation:
    """Round t, counted from 1, completes a node: its draw takes the place of those it covers.

    y_t = z_t - (the draws of the nodes of 1, 2, .. rounds that make up the rest of its own), so
    that a prefix has the noise of as many nodes as its length has bits. At most log2(n) are kept.

    References:
        Kairouz et al. 2021, "Practical and Private (Deep) Learning without Sampling or Shuffling",
        without Honaker's refinement.
    """
    errors.whole("rounds", rounds, least=1)
    kept = rounds.bit_length() - 1

    def step(drawn, round, state):
        if not kept:
            return drawn, state
        end = round + 1
        level = jax.lax.population_count((end & -end) - 1)
        weights = (jnp.arange(kept) < level).astype(jnp.float32)
        return tree.sub(drawn, _weigh(weights, state)), _put(state, level, drawn)

    return Correlation(lambda like: _places(kept, like), step, rounds, kept)


def _places(count: int, like: PyTree) -> PyTree:
    if not count:
        return ()
    return jax.tree.map(lambda a: jnp.zeros((count, *a.shape), a.dtype), like)


def _weigh(weights, state: PyTree) -> PyTree:
    exact = jax.lax.Precision.HIGHEST
    one = lambda a: jnp.tensordot(weights.astype(a.dtype), a, axes=1, precision=exact)
    return jax.tree.map(one, state)


def _divide(x: PyTree, by) -> PyTree:
    return jax.tree.map(lambda a: a / by.astype(a.dtype), x)


def _put(state: PyTree, place, out: PyTree) -> PyTree:
    """The state with this in a place; in none, where the place is beyond its end."""
    return jax.tree.map(lambda all, new: all.at[place].set(new, mode="drop"), state, out)
