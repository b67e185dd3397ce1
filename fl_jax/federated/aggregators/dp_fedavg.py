"""DP-FedAvg: participant-level differential privacy, with a clipping bound that may adapt."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from fl_jax.core import errors, tree
from fl_jax.core.types import Array, Float, Key, PyTree
from fl_jax.federated.aggregators.base import Aggregator, Stacked, Summed


class Private(NamedTuple):
    """What lives from round to round."""

    bound: Float[Array, ""]  # C
    key: Key[Array, ""]


def multiplier(*, sigma: float, eta: float, participants: int, bound: float) -> float:
    """z = sigma n / (eta S): the noise multiplier of noise that is added after averaging.

    Args:
        sigma: deviation of the noise on the averaged update, as `norm_clip(noise=...)` adds it.
        eta, participants: of `mean.fedavg`, whose factor is eta / n.
        bound: S, to which every update is clipped.
    """
    for name, value in {"sigma": sigma, "eta": eta, "bound": bound}.items():
        errors.positive(name, value)
    return sigma * participants / (eta * bound)


def check(**numbers: float) -> None:
    """Refuses what is not above 0 and finite.

    Raises:
        ConfigError: such a number.
    """
    for name, value in numbers.items():
        errors.positive(name, value)
        if math.isinf(value):
            raise errors.ConfigError(f"{name} must be finite, got inf.")


def beyond(update: PyTree, others: Stacked, state) -> Float[Array, ""]:
    """What of the norm is beyond the bound, in bounds: the score of a rule that clips."""
    del others
    return jnp.maximum(tree.norm(update) / state.bound - 1, 0)


def dp_fedavg(
    *,
    bound: float,
    noise_multiplier: float,
    expected: float,
    quantile: float | None = None,
    rate: float = 0.2,
    count_noise: float | None = None,
) -> Aggregator:
    """(sum_i x_i min(1, C / ||x_i||) + N(0, (z C)^2)) / (q n).

    The denominator is the expected number of updates, which does not depend on who took part. With
    a `quantile` gamma, C follows it: C <- C exp(-rate (b - gamma)), b being the noisy share of
    updates below C. The count has noise sigma_b of its own, and the updates then get
    z_delta = (z^-2 - (2 sigma_b)^-2)^(-1/2), so that both together cost what z does. Under secure
    aggregation clients clip for themselves and the server, which sees their sum alone, adds the
    noise; its clip range has to hold the 1/2 that a client counts for where C follows a quantile.

    What a ledger records for each round depends on the sampler. `sampling.poisson` is what the
    paper draws: `SampledGaussian(z, q)`, whose neighbours add or remove a participant. A cohort of
    fixed size (`sampling.uniform`) is `SampledGaussian(z, q, "fixed")`, whose neighbours replace
    one, and costs several times as much.

    Args:
        bound: C, or where it starts.
        noise_multiplier: z, > 0.
        expected: q n, participants a round on average.
        quantile: gamma, in (0, 1); None keeps C.
        rate: of the bound's geometric updates.
        count_noise: sigma_b; None = expected / 20, the paper's choice.

    Raises:
        ConfigError: a value out of range, or a count noise too small for z.

    References:
        McMahan et al. 2018, "Learning Differentially Private Recurrent Language Models";
        Andrew et al. 2021, "Differentially Private Learning with Adaptive Clipping", Algorithm 1.
    """
    check(bound=bound, noise_multiplier=noise_multiplier, expected=expected)
    z = noise_multiplier
    sigma_b = expected / 20 if count_noise is None else count_noise
    if quantile is not None:
        if not 0 < quantile < 1:
            raise errors.ConfigError(f"the quantile must lie in (0, 1), got {quantile}.")
        errors.not_negative("rate", rate)
        if not z < 2 * sigma_b:
            raise errors.ConfigError(
                f"the noise of the count, {sigma_b}, must be above half of the noise multiplier"
                f" {noise_multiplier}, which it shares; raise count_noise or the cohort."
            )
        z = (z**-2 - (2 * sigma_b) ** -2) ** -0.5

    def init(variables):
        del variables
        return Private(jnp.float32(bound), jax.random.key(0))

    def begin(variables, state, key):
        del variables
        return Private(state.bound, key)

    def arrive(update, state):
        update = tree.wide(update)  # rounded after clipping, it could be longer than C
        clipped = tree.clip(update, state.bound)
        if quantile is None:
            return (clipped, jnp.float32(0)), jnp.float32(1)
        below = (tree.norm(update) <= state.bound).astype(jnp.float32) - 0.5
        return (clipped, below), jnp.float32(1)

    def update(seen: Summed, state):
        total, below = seen.total
        own, count = jax.random.split(state.key)
        noisy = tree.add(total, tree.normal(own, total, z * state.bound))
        out = tree.scale(1 / expected, noisy)
        if quantile is None:
            return out, state
        share = (below + sigma_b * jax.random.normal(count)) / expected + 0.5
        moved = state.bound * jnp.exp(-rate * (share - quantile))
        return out, state._replace(bound=moved.astype(jnp.float32))

    return Aggregator(
        init,
        update,
        begin=begin,
        arrive=arrive,
        local=True,
        reach=0.0 if quantile is None else 0.5,
        score=beyond,
    )
