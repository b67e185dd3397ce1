"""Numbers on a line in one group or two: exact 2-means, and the gap statistic for the choice."""

import jax
import jax.numpy as jnp

from fl_jax.core.types import Array, Bool, Float, Key

SMALL = 1e-9  # of a sum of squares of numbers in [0, 1]


def two_means(
    values: Float[Array, " count"], among: Bool[Array, " count"]
) -> tuple[Bool[Array, " count"], Float[Array, ""], Float[Array, ""]]:
    """(who is in the upper group, W_1, W_2): 2-means, exact, as groups on a line are neighbours.

    W_k is the sum of squared distances to the means of k groups. With fewer than two values
    nobody is in the upper group.
    """
    total = jnp.sum(among)
    size = values.shape[0]
    ordered = jnp.sort(jnp.where(among, values, jnp.inf))
    ordered = jnp.where(jnp.arange(size) < total, ordered, 0.0)
    sums, squares = jnp.cumsum(ordered), jnp.cumsum(jnp.square(ordered))
    lower = jnp.arange(1, size + 1).astype(values.dtype)  # how many are in the lower group
    upper = jnp.maximum(total.astype(values.dtype) - lower, 1.0)
    within = squares[-1] - jnp.square(sums) / lower - jnp.square(sums[-1] - sums) / upper
    within = jnp.where(jnp.arange(1, size + 1) < total, within, jnp.inf)
    best = jnp.argmin(within)
    one = squares[-1] - jnp.square(sums[-1]) / jnp.maximum(total, 1).astype(values.dtype)
    two = jnp.minimum(within[best], one)
    return among & (values > ordered[best]) & (total > 1), _least(one), _least(two)


def _least(squares):
    return jnp.maximum(squares, SMALL)


def split(
    key: Key[Array, ""],
    values: Float[Array, " count"],
    among: Bool[Array, " count"],
    draws: int,
) -> tuple[Bool[Array, ""], Bool[Array, " count"]]:
    """(whether there is more than one group, who is in the upper one of two).

    Gap(k) = E log W_k of uniform numbers - log W_k; the number of groups is the smallest k with
    Gap(k) >= Gap(k + 1) - s_{k + 1}, so that k = 1 is refused where Gap(1) < Gap(2) - s_2. Values
    are taken to [0, 1] first; where all are equal there is one group.

    Args:
        key: of the uniform draws.
        values: finite.
        among: which count.
        draws: how many sets of uniform numbers.

    References:
        Tibshirani, Walther, Hastie 2001, "Estimating the number of clusters in a data set via the
        gap statistic", section 3.
    """
    low = jnp.min(jnp.where(among, values, jnp.inf))
    span = jnp.max(jnp.where(among, values, -jnp.inf)) - low
    wide = span > 0  # False for nothing too
    inside = jnp.where(among & wide, (values - low) / jnp.where(wide, span, 1.0), 0.0)
    upper, one, two = two_means(inside, among)

    def uniform(key):
        return two_means(jax.random.uniform(key, values.shape), among)[1:]

    logs = jnp.log(jnp.stack(jax.lax.map(uniform, jax.random.split(key, draws))))
    gaps = jnp.mean(logs, axis=1) - jnp.log(jnp.stack([one, two]))
    spread = jnp.std(logs[1]) * (1 + 1 / draws) ** 0.5
    return wide & (gaps[0] < gaps[1] - spread), upper
