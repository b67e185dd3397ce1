"""Bucketing: a rule sees the means of a few updates each, put together at random."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from fl_jax.core import errors, rng, tree
from fl_jax.core.types import Array, Key, PyTree
from fl_jax.federated.aggregators.base import Aggregator, Stacked, as_stacked, sent_out
from fl_jax.federated.statistics import gram


class State(NamedTuple):
    """The rule's state, and the round's key."""

    rule: PyTree
    key: Key[Array, ""]


def bucketing(rule: Aggregator, *, size: int) -> Aggregator:
    """The rule on the means of `size` updates each, of those who arrived in random order.

    Of m that arrive ceil(m / s) means come, the last one of fewer. Their spread is smaller than
    that of the updates, so that participants with data unlike the others' are not taken for
    attackers; but f attackers spoil up to f of the means, so that the rule stands f of ceil(m / s)
    and not of m. Who is put with whom is drawn by the ids of the senders, where they are known.

    Args:
        rule: how the means become one step. They have no senders: a rule with a memory of senders
            refuses them. One that weighs by examples takes weighted means, weighing their sums.
        size: s; the paper takes 2.

    Raises:
        ConfigError: a size that is no whole number of 1 or more.

    References:
        Karimireddy, He, Jaggi 2022, "Byzantine-Robust Learning on Heterogeneous Datasets via
        Bucketing", Algorithm 1.
    """
    errors.whole("updates in a bucket", size, least=1)
    rule = as_stacked(rule)

    def buckets(seen: Stacked, key) -> Stacked:
        count = seen.weights.shape[0]
        who = jnp.arange(count) if seen.ids is None else seen.ids
        drawn = jax.vmap(lambda i: jax.random.uniform(rng.fold(key, "bucket", i)))(who)
        # Whoever did not arrive stands last, so that all means but one are of `size` updates.
        place = jnp.argsort(jnp.argsort(jnp.where(seen.weights > 0, drawn, jnp.inf)))
        rows = place[None, :] // size == jnp.arange(-(-count // size))[:, None]
        members = rows.astype(jnp.float32) * seen.weights[None, :]
        total = jnp.sum(members, axis=1)
        share = members / jnp.where(total > 0, total, 1.0)[:, None]
        weights = total if rule.weight == "examples" else (total > 0).astype(jnp.float32)
        return Stacked(gram.combine(share, tree.wide(seen.updates)), weights)

    def begin(variables, state: State, key):
        own, drawn = jax.random.split(key)
        return State(rule.begin(variables, state.rule, own), drawn)

    def update(seen: Stacked, state: State):
        out, own = rule.update(buckets(seen, state.key), state.rule)
        return tree.cast(out, seen.updates), state._replace(rule=own)

    def score(update, others: Stacked, state: State):
        """The rule's, of the update as it is beside the others' means."""
        return rule.score(update, buckets(others, state.key), state.rule)

    return rule._replace(
        init=lambda variables: State(rule.init(variables), jax.random.key(0)),
        begin=begin,
        update=update,
        broadcast=(
            None
            if rule.broadcast is None
            else lambda variables, state: sent_out(rule, variables, state.rule)
        ),
        score=None if rule.score is None else score,
        memory="gram",
        # With ids, the order of the updates does not matter; without, it is another draw.
        properties=rule.properties & {"permutation", "equal", "translation", "scale"},
    )
