"""SignGuard: updates of usual length whose signs are split as most others' are."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from fl_jax.core import errors, tree
from fl_jax.core.types import Array, Bool, Float, Key, PyTree
from fl_jax.federated.aggregators.base import Aggregator, Stacked, drawing
from fl_jax.federated.statistics import coordinates, gram, likeness, mean_shift
from fl_jax.federated.statistics import norms as lengths

SOFT = 0.1  # of the others' root mean square: where the score's sign turns from -1 to 1

KINDS = ("none", "cosine", "distance")
FAR = 1.1  # medians: from there on a distance is one feature, below it another
WEIGHT = 0.2  # of the likeness beside the shares of signs


class Memory(NamedTuple):
    """The round's key, and the last aggregate that was not 0."""

    key: Key[Array, ""]
    last: PyTree


def shares(rows: Float[Array, "cohort count"]) -> Float[Array, "cohort 3"]:
    """The shares of positive, zero and negative coordinates in each row."""
    of = lambda which: jnp.mean(which.astype(jnp.float32), axis=1)
    return jnp.stack([of(rows > 0), of(rows == 0), of(rows < 0)], axis=1)


def likenesses(
    kind: str, updates: PyTree, arrived: Bool[Array, " cohort"], last: PyTree
) -> Float[Array, " cohort"]:
    """The fourth feature: a cosine cut to [0, median], over five medians; or, of a distance,
    whether it is at least 1.1 medians, over five."""
    if kind == "cosine":
        cosines = likeness.direction(updates, arrived, last)
        middle = jnp.maximum(gram.median_of(cosines, arrived), 0.0)
        return WEIGHT * jnp.clip(cosines, 0.0, middle) / jnp.maximum(middle, 1e-8)
    away = likeness.distance(updates, arrived, last)
    return WEIGHT * (away >= FAR * gram.median_of(away, arrived)).astype(jnp.float32)


def signguard(
    *,
    similarity: str = "none",
    lowest: float = 0.1,
    highest: float = 3.0,
    drawn: float = 0.1,
    quantile: float = 0.5,
) -> Aggregator:
    """The mean of the trusted updates, clipped to the median norm M.

    Trusted is whose norm lies in [L M, R M] and who is in the largest mean-shift cluster of the
    shares of positive, zero and negative signs on coordinates drawn for the round. A round that
    nobody is trusted in moves nothing. Mean shift (flat kernel) starts at every point and draws
    nothing. The shares are the paper's; the authors' code divides each by its largest and takes
    neighbouring coordinates.

    SignGuard-Sim and SignGuard-Dist cluster by a fourth feature, how like the last aggregate an
    update is (`likenesses`, scaled as in the authors' code); in the first round, how like the
    others (the authors' code does so for three rounds of Sim).

    Args:
        similarity: `none`, `cosine` (Sim) or `distance` (Dist).
        lowest: L.
        highest: R, above L.
        drawn: share of the coordinates that signs are counted on, in (0, 1].
        quantile: of the neighbours whose distance is the bandwidth, in (0, 1].

    Raises:
        ConfigError: a number out of its range, an unknown similarity.

    References:
        Xu, Huang, Song, Lan 2022, "Byzantine-Robust Federated Learning through Collaborative
        Malicious Gradient Filtering", Algorithm 2; bandwidth from the authors' code.
    """
    errors.one_of("similarity of SignGuard", similarity, KINDS)
    if not 0 <= lowest < highest:
        raise errors.ConfigError(
            f"the norms that SignGuard trusts lie from lowest to highest times the median, but"
            f" lowest is {lowest} and highest {highest}; give 0 <= lowest < highest."
        )
    for what, value in (("drawn", drawn), ("quantile", quantile)):
        if not 0 < value <= 1:
            raise errors.ConfigError(f"{what} is a share, in (0, 1], got {value}.")

    def index(state, size: int):
        return coordinates.choose(state.key, size, max(round(drawn * size), 1))

    def update(seen: Stacked, state):
        arrived = seen.weights > 0
        norms = lengths.of_each(seen.updates)
        middle = gram.median_of(norms, arrived)
        usual = (norms >= lowest * middle) & (norms <= highest * middle)
        size = tree.size(seen.updates) // arrived.shape[0]
        found = shares(coordinates.take(seen.updates, index(state, size)))
        if similarity != "none":
            fourth = likenesses(similarity, seen.updates, arrived, state.last)
            found = jnp.concatenate([found, fourth[:, None]], axis=1)
        alike = mean_shift.largest(found, arrived, mean_shift.bandwidth(found, arrived, quantile))
        trusted = arrived & usual & alike
        out = lengths.clipped_mean(seen.updates, trusted, norms, middle)
        if similarity != "none":
            state = state._replace(last=tree.where(jnp.any(trusted), out, state.last))
        return out, state

    def unlike(update, others: Stacked, last):
        """How far its fourth feature, not cut, is on the wrong side of the others' median."""
        there = others.weights > 0
        known = tree.squared_norm(last) > 0
        if similarity == "cosine":
            middle = gram.median_of(likeness.direction(others.updates, there, last), there)
            first = 1 - gram.apart(update, others.updates, there)
            own = jnp.where(known, tree.cosine(update, last), first)
            return jax.nn.relu(1 - own / jnp.maximum(middle, 1e-8))
        middle = gram.median_of(likeness.distance(others.updates, there, last), there)
        apart = jnp.sqrt(gram.to_each(update, others.updates) + 1e-12)
        near = jnp.arange(there.shape[0]) < jnp.sum(there) // 2
        first = jnp.sum(jnp.where(near, jnp.sort(jnp.where(there, apart, jnp.inf)), 0.0))
        own = jnp.where(known, tree.norm(tree.sub(update, last)), first)
        return jax.nn.relu(own / jnp.maximum(FAR * middle, 1e-30) - 1)

    def score(update, others: Stacked, state):
        """How far the balance of its signs is from the others', in their deviations, and what its
        norm is beyond their median; signs are softened, as they have no derivative. Sim and Dist
        add how unlike it is."""
        there = (others.weights > 0).astype(jnp.float32)
        count = jnp.maximum(jnp.sum(there), 1)
        drawn_here = index(state, tree.size(update))
        rows = coordinates.take(others.updates, drawn_here)
        own = coordinates.take(jax.tree.map(lambda a: a[None], update), drawn_here)
        turn = SOFT * jnp.sqrt(there @ jnp.mean(jnp.square(rows), axis=1) / count) + 1e-30
        balance = lambda x: jnp.mean(x / (jnp.abs(x) + turn), axis=1)
        usual = balance(rows)
        middle = there @ usual / count
        spread = jnp.sqrt(there @ jnp.square(usual - middle) / count) + 1e-6
        bound = gram.median_of(lengths.of_each(others.updates), others.weights > 0)
        found = jnp.abs(balance(own)[0] - middle) / spread + lengths.beyond(update, bound)
        return found if similarity == "none" else found + unlike(update, others, state.last)

    if similarity == "none":
        return drawing(update, score, frozenset({"permutation", "equal", "scale"}))
    # A distance to the last aggregate does not follow a factor on this round's updates.
    scale = frozenset({"scale"} if similarity == "cosine" else ())
    return Aggregator(
        lambda variables: Memory(jax.random.key(0), tree.zeros_like(variables)),
        update,
        Stacked,
        begin=lambda variables, state, key: state._replace(key=key),
        score=score,
        memory="gram",
        properties=frozenset({"permutation", "equal"}) | scale,
    )
