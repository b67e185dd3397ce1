"""Krum, multi-Krum and Bulyan: updates chosen by how close their neighbours are."""

import jax
import jax.numpy as jnp

from fl_jax.core import errors
from fl_jax.core.types import Array, Bool, Float, Int
from fl_jax.federated.aggregators.base import Aggregator, Stacked, needs, only_if, stateless
from fl_jax.federated.statistics import gram, ordered

ROBUST = frozenset({"permutation", "equal", "translation", "scale", "outlier"})
LARGE = 1e38  # behind every real score, before every excluded one


def scores(
    distances: Float[Array, "cohort cohort"],
    among: Bool[Array, " cohort"],
    attackers: int | Int[Array, ""],
) -> Float[Array, " cohort"]:
    """The Krum score of every update: the sum of its smallest squared distances.

    s(i) = sum over the count - f - 2 nearest j != i of ||x_i - x_j||^2, at least one.

    Args:
        distances: squared, (m, m).
        among: which updates count; the others get infinity.
        attackers: f.
    """
    count = jnp.sum(among)
    own = jnp.eye(distances.shape[0], dtype=bool)
    usable = among[:, None] & among[None, :] & ~own
    near = jnp.sort(jnp.where(usable, distances, jnp.inf), axis=1)
    taken = jnp.arange(near.shape[1])[None, :] < jnp.maximum(count - attackers - 2, 1)
    total = jnp.minimum(jnp.sum(jnp.where(taken, near, 0.0), axis=1), LARGE)
    return jnp.where(among, total, jnp.inf)


def _score(attackers: int):
    def score(update, others: Stacked, state):
        """The Krum score that this update would get beside the others."""
        del state
        among = others.weights > 0
        away = jnp.where(among, gram.to_each(update, others.updates), jnp.inf)
        near = jnp.sort(away)
        taken = jnp.arange(near.shape[0]) < jnp.maximum(jnp.sum(among) - attackers - 1, 1)
        return jnp.sum(jnp.where(taken & jnp.isfinite(near), near, 0.0))

    return score


def krum(*, attackers: int) -> Aggregator:
    """The one update whose neighbours are nearest.

    A round in which fewer than 2f + 3 arrive moves nothing.

    Args:
        attackers: f, how many of a round's updates may be malicious.

    Raises:
        ConfigError: f no whole number of 0 or more, or m < 2f + 3 (when the round is traced).

    References:
        Blanchard et al. 2017, "Machine Learning with Adversaries", section 4.
    """
    return _best("Krum", attackers, lambda count: jnp.ones_like(count))


def multi_krum(*, attackers: int, keep: int | None = None) -> Aggregator:
    """The mean of the `keep` updates with the best Krum scores.

    Args:
        attackers: f.
        keep: how many; None = all that arrived but f.

    References:
        Blanchard et al. 2017, section 5 (Multi-Krum); m >= 2f + 3 as for Krum.
    """
    if keep is not None:
        errors.whole("keep", keep, least=1)
    return _best(
        "multi-Krum",
        attackers,
        lambda count: count - attackers if keep is None else jnp.full_like(count, keep),
    )


def _best(name: str, attackers: int, how_many) -> Aggregator:
    errors.whole("attackers (f)", attackers)

    def update(seen: Stacked, state):
        needs(name, seen, 2 * attackers + 3, "2f + 3", f"f = {attackers}")
        arrived = seen.weights > 0
        count = jnp.sum(arrived)
        found = scores(gram.pairwise(seen.updates), arrived, attackers)
        rank = jnp.argsort(jnp.argsort(found))
        chosen = (rank < jnp.minimum(how_many(count), count)) & arrived
        out = gram.mean_of(chosen, seen.updates)
        return only_if(count >= 2 * attackers + 3, out), state

    return _aggregator(update, attackers, robust=attackers > 0 or name == "Krum")


def _aggregator(update, attackers: int, *, robust: bool) -> Aggregator:
    properties = ROBUST if robust else ROBUST - {"outlier"}
    return Aggregator(
        stateless,
        update,
        Stacked,
        score=_score(attackers),
        memory="gram",
        properties=properties,
    )


def bulyan(*, attackers: int) -> Aggregator:
    """m - 2f updates chosen by repeated Krum, then per coordinate the mean of those m - 4f of
    them that lie nearest to their median.

    A round in which fewer than 4f + 3 arrive moves nothing.

    Args:
        attackers: f.

    Raises:
        ConfigError: f no whole number of 0 or more, or m < 4f + 3 (when the round is traced).

    References:
        El Mhamdi et al. 2018, "The Hidden Vulnerability of Distributed Learning in Byzantium",
        section 4.
    """
    errors.whole("attackers (f)", attackers)

    def update(seen: Stacked, state):
        needs("Bulyan", seen, 4 * attackers + 3, "4f + 3", f"f = {attackers}")
        arrived = seen.weights > 0
        count = jnp.sum(arrived)
        chosen = select(gram.pairwise(seen.updates), arrived, attackers)
        kept = jnp.maximum(count - 4 * attackers, 1).astype(jnp.int32)

        def rule(values, chosen_count):
            return _near_median(values, chosen_count, kept, 2 * attackers)

        out = ordered.coordinatewise(rule, seen.updates, chosen)
        return only_if(count >= 4 * attackers + 3, out), state

    return _aggregator(update, attackers, robust=attackers > 0)


def select(distances, arrived: Bool[Array, " cohort"], attackers: int) -> Bool[Array, " cohort"]:
    """Bulyan's first stage: Krum takes one update after another, count - 2f of them."""
    wanted = jnp.sum(arrived) - 2 * attackers

    def take(i, chosen):
        left = arrived & ~chosen
        found = scores(distances, left, attackers)
        # With one neighbour in the sum, two nearest to each other tie: all distances decide,
        # not the order in which updates came.
        tied = found <= jnp.min(found) * (1 + 1e-5)
        best = jnp.argmin(jnp.where(tied, scores(distances, left, -1), jnp.inf))
        return chosen.at[best].set(chosen[best] | (i < wanted))

    most = distances.shape[0] - 2 * attackers
    return jax.lax.fori_loop(0, most, take, jnp.zeros_like(arrived))


def _near_median(values, count, kept, spare: int):
    """Mean of the `kept` of `count` sorted values that lie nearest to their median.

    They are neighbours in the order, so that it is a choice among spare + 1 windows.
    """
    centre = ordered.middle(values, count)
    reach = jnp.stack(
        [
            jnp.maximum(centre - values[s], values[jnp.minimum(s + kept - 1, count - 1)] - centre)
            for s in range(spare + 1)
        ]
    )
    first = jnp.argmin(reach, axis=0)[None, :]
    place = jnp.arange(values.shape[0])[:, None]
    inside = (place >= first) & (place < first + kept)
    return jnp.sum(jnp.where(inside, values, 0.0), axis=0) / kept.astype(jnp.float32)
