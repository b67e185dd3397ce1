"""RFLBAT: in the plane of two principal components, the group whose updates are least alike."""

import jax
import jax.numpy as jnp

from fl_jax.core import errors
from fl_jax.core.types import Array, Bool, Float
from fl_jax.federated.aggregators.base import Aggregator, Keyed, Stacked, drawing, only_if
from fl_jax.federated.statistics import gram, k_means, principal

COMPONENTS = 2


def near(
    apart: Float[Array, "cohort cohort"], among: Bool[Array, " cohort"], factor: float
) -> Bool[Array, " cohort"]:
    """Who of them has a sum of distances to them of at most `factor` times the median sum."""
    total = jnp.sum(jnp.where(among[None, :], apart, 0.0), axis=1)
    return among & (total <= factor * gram.median_of(total, among))


def rflbat(
    *, first: float = 10.0, second: float = 4.0, most: int = 9, draws: int = 5
) -> Aggregator:
    """The mean of the updates that pass, in the plane of the first two principal components:

    1. a sum of distances to all of at most `first` medians;
    2. being in the one k-means group whose members' mean cosines to each other have the least
       median, because attackers resemble each other (a single one counts as 1);
    3. a sum of distances within the group of at most `second` medians.

    The number of groups is the gap statistic's. k-means starts from the farthest points and draws
    nothing. The cosines are of whole updates.

    Args:
        first, second: epsilon_1 and epsilon_2, > 0.
        most: groups at most.
        draws: sets of uniform points of the gap statistic.

    Raises:
        ConfigError: a number that is not positive.

    References:
        Wang, Zhai, Zhan, Xia 2022, "RFLBAT: A Robust Federated Learning Algorithm against
        Backdoor Attack", Algorithm 1; the four numbers as in public implementations.
    """
    for what, value in (("first", first), ("second", second)):
        errors.positive(f"{what} of RFLBAT", value)
    for what, value in (("most", most), ("draws", draws)):
        errors.whole(f"{what} of RFLBAT", value, least=1)

    def update(seen: Stacked, state: Keyed):
        arrived = seen.weights > 0
        products = gram.gram(seen.updates)
        plane = principal.places(principal.centred(products, arrived), COMPONENTS)
        apart = jnp.sqrt(jnp.sum(jnp.square(plane[:, None, :] - plane[None, :, :]), axis=-1))
        passed = near(apart, arrived, first)

        number = k_means.number_of_groups(state.key, plane, passed, most, draws)
        labels, _ = k_means.groups(plane, passed, number, most)
        group = (labels[None, :] == jnp.arange(most)[:, None]) & passed[None, :]
        cosines = gram.cosines(products)

        def alike(members):
            count = jnp.sum(members)
            mean = jnp.sum(jnp.where(members[None, :], cosines, 0.0), axis=1)
            found = gram.median_of(mean / jnp.maximum(count, 1).astype(jnp.float32), members)
            return jnp.where(count > 1, found, jnp.where(count > 0, 1.0, jnp.inf))

        chosen = near(apart, group[jnp.argmin(jax.vmap(alike)(group))], second)
        return only_if(jnp.any(chosen), gram.mean_of(chosen, seen.updates)), state

    def score(update, others: Stacked, state: Keyed):
        """The squared distance from the mean in the plane that it and the others span."""
        del state
        return principal.distance(update, others.updates, others.weights > 0, COMPONENTS)

    return drawing(update, score, frozenset({"permutation", "equal", "scale"}))
