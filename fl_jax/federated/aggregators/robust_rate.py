"""Robust learning rate: the server goes backwards where too few participants agree."""

import jax
import jax.numpy as jnp

from fl_jax.core import errors, tree
from fl_jax.federated.aggregators.base import (
    Aggregator,
    Stacked,
    Summed,
    average,
    stateless,
    summed,
)


def robust_rate(*, threshold: float) -> Aggregator:
    """The mean, with its sign turned where |sum_i sign(x_i)| < theta.

    Two running sums: the updates' and their signs'. A round in which fewer than theta updates
    arrive goes backwards as a whole: keep theta below the smallest cohort that may come.

    Args:
        threshold: theta, in participants, > 0.

    References:
        Ozdayi, Kantarcioglu, Gel 2021, "Defending against Backdoors in Federated Learning with
        Robust Learning Rate", Algorithm 1.
    """
    errors.positive("the threshold of the robust learning rate", threshold)

    def arrive(update, state):
        del state
        return (update, jax.tree.map(jnp.sign, update)), jnp.float32(1)

    def update(seen: Summed, state):
        (total, signs), weight = seen
        turn = lambda mean, votes: jnp.where(jnp.abs(votes) >= threshold, mean, -mean)
        return jax.tree.map(turn, average(Summed(total, weight)), signs), state

    def score(update, others: Stacked, state):
        """Share of the update's mass that goes against the others' mean."""
        del state
        mean, update = average(summed(others)), tree.wide(update)
        against = jax.tree.map(lambda x, m: jax.nn.relu(-x * jnp.sign(m)), update, mean)
        mass = sum(jnp.sum(jnp.abs(a)) for a in jax.tree.leaves(update))
        # An attacker begins at the model itself: of no update the derivative is 0, not NaN.
        total = sum(jnp.sum(a) for a in jax.tree.leaves(against))
        return total / jnp.where(mass > 0, mass, 1.0)

    return Aggregator(
        stateless,
        update,
        arrive=arrive,
        local=True,
        reach=1.0,
        score=score,
        properties=frozenset({"permutation", "scale"}),
    )
