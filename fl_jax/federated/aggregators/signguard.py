"""SignGuard: updates of usual length whose signs are split as most others' are."""

import jax
import jax.numpy as jnp

from fl_jax.core import errors, tree
from fl_jax.core.types import Array, Float
from fl_jax.federated.aggregators.base import Aggregator, Keyed, Stacked, drawing
from fl_jax.federated.statistics import coordinates, gram, mean_shift
from fl_jax.federated.statistics import norms as lengths

SOFT = 0.1  # of the others' root mean square: where the score's sign turns from -1 to 1


def shares(rows: Float[Array, "cohort count"]) -> Float[Array, "cohort 3"]:
    """The shares of positive, zero and negative coordinates in each row."""
    of = lambda which: jnp.mean(which.astype(jnp.float32), axis=1)
    return jnp.stack([of(rows > 0), of(rows == 0), of(rows < 0)], axis=1)


def signguard(
    *,
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

    Args:
        lowest: L.
        highest: R, above L.
        drawn: share of the coordinates that signs are counted on, in (0, 1].
        quantile: of the neighbours whose distance is the bandwidth, in (0, 1].

    Raises:
        ConfigError: a number out of its range.

    References:
        Xu, Huang, Song, Lan 2022, "Byzantine-Robust Federated Learning through Collaborative
        Malicious Gradient Filtering", Algorithm 2; bandwidth from the authors' code.
    """
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

    def update(seen: Stacked, state: Keyed):
        arrived = seen.weights > 0
        norms = lengths.of_each(seen.updates)
        middle = gram.median_of(norms, arrived)
        usual = (norms >= lowest * middle) & (norms <= highest * middle)
        size = tree.size(seen.updates) // arrived.shape[0]
        found = shares(coordinates.take(seen.updates, index(state, size)))
        alike = mean_shift.largest(found, arrived, mean_shift.bandwidth(found, arrived, quantile))
        trusted = arrived & usual & alike
        return lengths.clipped_mean(seen.updates, trusted, norms, middle), state

    def score(update, others: Stacked, state: Keyed):
        """How far the balance of its signs is from the others', in their deviations, and what its
        norm is beyond their median; signs are softened, as they have no derivative."""
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
        return jnp.abs(balance(own)[0] - middle) / spread + lengths.beyond(update, bound)

    return drawing(update, score, frozenset({"permutation", "equal", "scale"}))
