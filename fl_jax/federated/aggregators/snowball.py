"""Snowball: every update votes for those near it, and the elected elect more."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from fl_jax.core import errors
from fl_jax.core.types import Array, Bool, Float, Int, Key, PyTree
from fl_jax.federated.aggregators.base import Aggregator, Stacked, needs, only_if
from fl_jax.federated.statistics import autoencoder, gram, k_means


class State(NamedTuple):
    """The round's key, and which round it is."""

    key: Key[Array, ""]
    round: Int[Array, ""]


def _products(leaf, arrived):
    """Inner products around the mean of those who arrived, which k-means does not see."""
    there = arrived.astype(jnp.float32)
    return gram.gram(leaf, around=gram.combine(there / jnp.maximum(jnp.sum(there), 1.0), leaf))


def votes(
    updates: PyTree, arrived: Bool[Array, " cohort"], suspects: int
) -> Float[Array, " cohort"]:
    """The bottom-up election: votes of all updates, summed over the leaves (layers).

    In each layer, update i groups all by k-means from itself and the `suspects` farthest from it,
    and votes for its own group with the Calinski-Harabasz score, taken to [0, 1] over the voters.
    """
    total = jnp.zeros(arrived.shape[0], jnp.float32)
    for leaf in jax.tree.leaves(updates):
        products = _products(leaf, arrived)
        apart = jnp.where(arrived[None, :], gram.distances(products), -jnp.inf)

        def vote(i, products=products, apart=apart):
            farthest = jax.lax.top_k(apart[i], suspects)[1]
            starts = jnp.concatenate([i[None], farthest])
            labels, score = k_means.of_products(products, arrived, starts)
            return labels == labels[i], score

        groups, scores = jax.vmap(vote)(jnp.arange(arrived.shape[0]))
        low = jnp.min(jnp.where(arrived, scores, jnp.inf))
        span = jnp.max(jnp.where(arrived, scores, -jnp.inf)) - low
        weight = jnp.where(arrived & (span > 0), (scores - low) / jnp.where(span > 0, span, 1), 0.0)
        total += weight @ groups.astype(jnp.float32)
    return jnp.where(arrived, total, -jnp.inf)


def _best(values, count):
    """Who is among the `count` largest values."""
    return jnp.argsort(jnp.argsort(-values)) < count


def enlarge(
    rows: Float[Array, "cohort inputs"],
    chosen: Bool[Array, " cohort"],
    arrived: Bool[Array, " cohort"],
    key: Key[Array, ""],
    size: autoencoder.Size,
    *,
    wanted: Int[Array, ""],
    step: Int[Array, ""],
    initial: int,
    tuning: int,
) -> Bool[Array, " cohort"]:
    """The top-down election: until `wanted` are chosen, an autoencoder learns the differences
    between the chosen, and the `step` whose differences to them it reconstructs best join."""

    def begin():
        first, second, rest = jax.random.split(key, 3)
        weights = autoencoder.train(autoencoder.init(first, size), rows, chosen, second, initial)
        return jax.lax.while_loop(missing, grow, (weights, chosen, rest))[1]

    def grow(found):
        weights, chosen, key = found
        key, one, two = jax.random.split(key, 3)
        weights = autoencoder.train(weights, rows, chosen, one, tuning)
        apart = autoencoder.errors_of_pairs(weights, rows, two)
        mean = (apart + apart.T) @ chosen.astype(jnp.float32)
        candidates = arrived & ~chosen
        more = jnp.minimum(step, wanted - jnp.sum(chosen))
        joined = _best(jnp.where(candidates, -mean, -jnp.inf), more) & candidates
        return weights, chosen | joined, key

    missing = lambda found: jnp.sum(found[1]) < wanted
    return jax.lax.cond(jnp.sum(chosen) < wanted, begin, lambda: chosen)


def snowball(
    *,
    select: Callable[[PyTree], PyTree] = lambda update: update,
    suspects: int = 10,
    first: float = 0.1,
    final: float = 0.5,
    step: float = 0.05,
    hidden: int = 256,
    latent: int = 64,
    initial: int = 270,
    tuning: int = 30,
    warmup: int = 0,
) -> Aggregator:
    """The mean of the updates that two elections choose: `votes`, then `enlarge`.

    Both see the selected layers only. Where `final` is not above `first`, and during the warm-up,
    the first election stands alone (the ablation that its authors call Snowball minus).

    The order of the updates matters only as another draw of the autoencoder's batches. Shares of
    those who arrive are rounded as in the authors' code: `first` and `step` up, `final` down; at
    least two are elected first, or there would be no difference to learn. The encoder's log
    variance is a softplus, as in their code.

    Args:
        select: (update) -> the layers that vote; the authors take the first and the last.
        suspects: k-means has one centre more; the authors take 10 among 50.
        first: share that the first election chooses, in (0, 1].
        final: M, share that is chosen in the end, in [0, 1].
        step: M^E, share that joins at once, in (0, 1].
        hidden, latent: widths of the autoencoder.
        initial, tuning: epochs of its training at first and before every joining.
        warmup: rounds at the start without the second election; the authors take 25 to 100.

    Raises:
        ConfigError: a number out of its range, or m < suspects + 3 (when the round is traced).

    References:
        Qin, Chen, Zhi, Yan, Deng 2024, "Resisting Backdoor Attacks in Federated Learning via
        Bidirectional Elections and Individual Perspective"; settings and details from the
        authors' code.
    """
    whole = {"suspects": suspects, "hidden": hidden, "latent": latent}
    for what, value in (whole | {"initial": initial, "tuning": tuning}).items():
        errors.whole(f"{what} of Snowball", value, least=1)
    errors.not_negative("the warm-up of Snowball", warmup)
    for what, value in (("first", first), ("step", step)):
        if not 0 < value <= 1:
            raise errors.ConfigError(f"{what} is a share of updates, in (0, 1], got {value}.")
    if not 0 <= final <= 1:
        raise errors.ConfigError(f"final is a share of updates, in [0, 1], got {final}.")

    def part(share, count, rounded):
        exact = share * count.astype(jnp.float32)
        return rounded(exact + (1e-4 if rounded is jnp.floor else -1e-4)).astype(jnp.int32)

    def update(seen: Stacked, state: State):
        needs("Snowball", seen, suspects + 3, "suspects + 3", f"suspects = {suspects}")
        arrived = seen.weights > 0
        count = jnp.sum(arrived)
        layers = jax.vmap(select)(seen.updates)
        voted = jnp.maximum(part(first, count, jnp.ceil), 2)
        elected = _best(votes(layers, arrived, suspects), voted) & arrived
        if final > first:
            flat = [a.reshape(a.shape[0], -1) for a in jax.tree.leaves(layers)]
            rows = jnp.concatenate([a.astype(jnp.float32) for a in flat], axis=1)
            late = state.round >= warmup
            wanted = jnp.where(late, part(final, count, jnp.floor), 0)
            elected = enlarge(
                rows,
                elected,
                arrived,
                state.key,
                autoencoder.Size(rows.shape[1], hidden, latent),
                wanted=wanted,
                step=part(step, count, jnp.ceil),
                initial=initial,
                tuning=tuning,
            )
        out = gram.mean_of(elected, seen.updates)
        return only_if(count >= suspects + 3, out), state._replace(round=state.round + 1)

    def score(update, others: Stacked, state):
        """Of every layer, the mean distance to the nearest half of the others, in units of their
        mean distance to each other; in the mean over layers."""
        del state
        there = others.weights > 0
        found = []
        own, rest = select(update), jax.vmap(select)(others.updates)
        for x, rows in zip(jax.tree.leaves(own), jax.tree.leaves(rest), strict=True):
            between = jnp.sqrt(gram.distances(_products(rows, there)))
            both = there[:, None] & there[None, :]
            pairs = jnp.maximum(jnp.sum(both), 1).astype(jnp.float32)
            usual = jnp.sum(jnp.where(both, between, 0.0)) / pairs
            apart = jnp.sqrt(gram.to_each(x, rows) + 1e-12)
            found.append(gram.nearest_half(apart, there) / (usual + 1e-12))
        return sum(found, jnp.float32(0)) / len(found)

    return Aggregator(
        lambda variables: State(jax.random.key(0), jnp.zeros((), jnp.int32)),
        update,
        Stacked,
        begin=lambda variables, state, key: state._replace(key=key),
        score=score,
        memory="gram",
        properties=frozenset({"permutation", "equal", "translation"}),
    )
