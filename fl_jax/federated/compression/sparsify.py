"""Sparse codes: a few numbers of a vector, and zeros."""

import math

import jax
import jax.numpy as jnp

from fl_jax.core import errors
from fl_jax.federated.compression.base import FLOAT, Code


def top_k(share: float) -> Code:
    """The largest numbers by size, as they are.

    Biased; ||x - Q(x)||^2 <= (1 - share) ||x||^2, which is what error feedback needs. Sent are the
    numbers and ceil(log2 d) bits for the place of each.

    Args:
        share: of the numbers of each vector, in (0, 1]; at least one is sent.

    References:
        Aji, Heafield 2017, "Sparse Communication for Distributed Gradient Descent"; Stich et al.
        2018, "Sparsified SGD with Memory".
    """
    _check(share)

    def read(x, key):
        del key
        _, places = jax.lax.top_k(jnp.abs(x), kept(share, x.size))
        return jnp.zeros_like(x).at[places].set(x[places])

    each = lambda d: FLOAT + math.ceil(math.log2(d))
    return Code(read, lambda d: float(kept(share, d) * each(d)), contracts=True)


def random_k(share: float, *, scaled: bool = True) -> Code:
    """As many numbers, drawn at random from a seed that the server shares.

    Scaled by d / k it is unbiased, with E ||Q(x) - x||^2 = (d / k - 1) ||x||^2; error feedback
    needs it as it is (`scaled=False`). Sent are the numbers alone.

    Args:
        share: of the numbers of each vector, in (0, 1]; at least one is sent.
        scaled: by d / k.

    References:
        Konecny et al. 2016, "Federated Learning: Strategies for Improving Communication
        Efficiency", section 3 (subsampling).
    """
    _check(share)

    def read(x, key):
        k = kept(share, x.size)
        # The largest of random numbers: a shuffle would sort them all.
        _, places = jax.lax.top_k(jax.random.uniform(key, (x.size,)), k)
        return jnp.zeros_like(x).at[places].set(x[places] * (x.size / k if scaled else 1))

    return Code(read, lambda d: float(kept(share, d) * FLOAT), contracts=not scaled)


def kept(share: float, d: int) -> int:
    """Numbers that are sent of d."""
    return max(1, round(share * d))


def _check(share: float) -> None:
    if not 0 < share <= 1:
        raise errors.ConfigError(f"share, of the numbers to send, is in (0, 1], got {share}.")
