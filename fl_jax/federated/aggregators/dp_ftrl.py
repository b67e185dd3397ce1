"""DP-FTRL: DP-FedAvg with noise that is correlated over rounds, so that it cancels in their sum."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from fl_jax.core import errors, tree
from fl_jax.core.types import Array, Float, Int, Key, PyTree
from fl_jax.federated.aggregators import dp_fedavg
from fl_jax.federated.aggregators.base import Aggregator, Summed, only_if
from fl_jax.federated.correlated_noise import Correlation


class Correlated(NamedTuple):
    """What lives from round to round."""

    bound: Float[Array, ""]  # C
    round: Int[Array, ""]
    key: Key[Array, ""]
    noise: PyTree  # of the correlation, leaves (memory, ...)


def dp_ftrl(
    *,
    bound: float,
    noise_multiplier: float,
    expected: float,
    correlation: Correlation,
    separation: int,
) -> Aggregator:
    """(sum_i x_i min(1, C / ||x_i||) + (F^-1 z)_t) / (q n), z ~ N(0, (zeta C)^2) independent.

    With F the factor of the correlation; F = 1 is `dp_fedavg`, from the same draws. The model is
    the sum of rounds and gets the noise A F^-1 z, A the matrix of prefix sums (or of a server with
    momentum).
    Everything before the server's optimizer is the mechanism: what follows, momentum or learning
    rates, costs no privacy. Beyond the rounds of its factor it moves nothing, because nothing would
    be accounted for. Under secure aggregation clients clip for themselves and the server adds the
    noise to their sum. The bound stays as it is: the accounting knows no bound that adapts.

    A ledger records the whole training once: `factorization.sensitivity.event(zeta, sens)`, with
    `sens` of this factor and separation; nothing is gained by who is drawn. With
    `sampling.cyclic_poisson` something is: `factorization.sensitivity.sampled`.

    Args:
        bound: C.
        noise_multiplier: zeta, deviation of z over the bound.
        expected: q n, participants a round on average.
        correlation: F, from `federated.correlated_noise`; its state holds `memory` models.
        separation: rounds from one turn of a participant to its next at least, as they are
            accounted for. A round refuses a sampler that does not keep to it: `sampling.cyclic` and
            `cyclic_poisson` do with as many blocks; any one does where it is 1.

    Raises:
        ConfigError: a value out of range, or no correlation.

    References:
        Kairouz et al. 2021, "Practical and Private (Deep) Learning without Sampling or Shuffling";
        Denisov et al. 2022, "Improved Differential Privacy for SGD via Optimal Private Linear
        Operators on Adaptive Streams"; Choquette-Choo et al. 2023, "(Amplified) Banded Matrix
        Factorization: A unified approach to private training".
    """
    dp_fedavg.check(bound=bound, noise_multiplier=noise_multiplier, expected=expected)
    if not isinstance(correlation, Correlation):
        raise errors.ConfigError(
            "correlation is a Correlation, like correlated_noise.banded(coefficients, rounds), got"
            f" {type(correlation).__name__}."
        )

    errors.whole("separation", separation, least=1)

    def init(variables):
        memory = correlation.init(tree.wide(variables))
        return Correlated(jnp.float32(bound), jnp.int32(0), jax.random.key(0), memory)

    def begin(variables, state, key):
        del variables
        return state._replace(key=key)

    def arrive(update, state):
        update = tree.wide(update)  # rounded after clipping, it could be longer than C
        return tree.clip(update, state.bound), jnp.float32(1)

    def update(seen: Summed, state):
        own, _ = jax.random.split(state.key)  # as dp_fedavg's, whose other half counts
        drawn = tree.normal(own, seen.total, noise_multiplier * state.bound)
        noise, kept = correlation.step(drawn, state.round, state.noise)
        out = tree.scale(1 / expected, tree.add(seen.total, noise))
        out = only_if(state.round < correlation.rounds, out)
        return out, state._replace(round=state.round + 1, noise=kept)

    return Aggregator(
        init,
        update,
        begin=begin,
        arrive=arrive,
        local=True,
        score=dp_fedavg.beyond,
        separation=separation,
    )
