"""k-means without a draw, and how many groups there are by the gap statistic."""

import jax
import jax.numpy as jnp

from fl_jax.core.types import Array, Bool, Float, Int, Key

STEPS = 100  # of Lloyd's at most
SMALL = 1e-9  # of a sum of squares of points in the unit box
SPREAD = 1e-6  # of all squares: what is below it within groups is rounding


def _apart(points, centres):
    return jnp.sum(jnp.square(points[:, None, :] - centres[None, :, :]), axis=-1)


def groups(
    points: Float[Array, "count features"],
    among: Bool[Array, " count"],
    number: Int[Array, ""],
    most: int,
) -> tuple[Int[Array, " count"], Float[Array, ""]]:
    """(group of every point, sum of squared distances to the groups' means).

    Lloyd's algorithm until nothing changes. It starts from the point farthest from the mean, and
    then in turn from the one farthest from all starts so far, so that nothing is drawn.

    Args:
        points: finite.
        among: which count; the others' group means nothing.
        number: k, at most `most`.
    """
    weight = among.astype(points.dtype)
    active = jnp.arange(most) < number

    def start(k, found):
        centres, nearest = found
        far = jnp.argmax(jnp.where(among, nearest, -1.0))
        away = jnp.sum(jnp.square(points - points[far][None, :]), axis=1)
        first = k == 0  # the distance to the mean has served
        return centres.at[k].set(points[far]), jnp.where(first, away, jnp.minimum(nearest, away))

    mean = weight @ points / jnp.maximum(jnp.sum(weight), 1.0)
    from_mean = jnp.sum(jnp.square(points - mean[None, :]), axis=1)
    centres, _ = jax.lax.fori_loop(0, most, start, (jnp.zeros((most, points.shape[1])), from_mean))

    def assign(centres):
        return jnp.argmin(jnp.where(active[None, :], _apart(points, centres), jnp.inf), axis=1)

    def lloyd(loop):
        step, labels, centres, _ = loop
        members = (labels[:, None] == jnp.arange(most)[None, :]) & among[:, None]
        members = members.astype(points.dtype)
        sizes = jnp.sum(members, axis=0)[:, None]
        moved = jnp.where(sizes > 0, members.T @ points / jnp.maximum(sizes, 1.0), centres)
        new = assign(moved)
        return step + 1, new, moved, jnp.any((new != labels) & among)

    going = lambda loop: (loop[0] < STEPS) & loop[3]
    begin = (0, assign(centres), centres, jnp.bool_(True))
    _, labels, centres, _ = jax.lax.while_loop(going, lloyd, begin)
    own = jnp.take_along_axis(_apart(points, centres), labels[:, None], axis=1)[:, 0]
    return labels, jnp.sum(own * weight)


def number_of_groups(
    key: Key[Array, ""],
    points: Float[Array, "count features"],
    among: Bool[Array, " count"],
    most: int,
    draws: int,
) -> Int[Array, ""]:
    """The smallest k with Gap(k) >= Gap(k + 1) - s_{k + 1}; `most` where there is none.

    Gap(k) = E log W_k of points drawn uniformly from the unit box, which the data are taken to
    first, - log W_k.

    References:
        Tibshirani, Walther, Hastie 2001, "Estimating the number of clusters in a data set via the
        gap statistic", section 3.
    """
    there = among[:, None]
    low = jnp.min(jnp.where(there, points, jnp.inf), axis=0)
    span = jnp.max(jnp.where(there, points, -jnp.inf), axis=0) - low
    wide = there & (span > 0)[None, :]
    inside = jnp.where(wide, (points - low[None, :]) / jnp.where(span > 0, span, 1.0)[None, :], 0.0)
    drawn = jax.random.uniform(key, (draws, *points.shape))
    sets = jnp.concatenate([inside[None], jnp.where(there[None], drawn, 0.0)])

    def within(number):
        return jax.vmap(lambda x: groups(x, among, number, most + 1)[1])(sets)

    logs = jnp.log(jnp.maximum(jax.lax.map(within, jnp.arange(1, most + 2)), SMALL))
    gaps = jnp.mean(logs[:, 1:], axis=1) - logs[:, 0]
    spread = jnp.std(logs[:, 1:], axis=1) * (1 + 1 / draws) ** 0.5
    enough = gaps[:-1] >= gaps[1:] - spread[1:]
    return jnp.where(jnp.any(enough), jnp.argmax(enough) + 1, most)


def of_products(
    products: Float[Array, "count count"],
    among: Bool[Array, " count"],
    starts: Int[Array, " number"],
) -> tuple[Int[Array, " count"], Float[Array, ""]]:
    """(group of every point, Calinski-Harabasz score) of k-means on inner products alone.

    Lloyd's algorithm from these points as centres. A group that loses all its points keeps its
    centre. The score is (B / (k - 1)) / (W / (n - k)), with B and W the sums of squares between
    and within the k groups that have points; 1 where they are points (W = 0), as in scikit-learn.

    Args:
        products: <x_i, x_j>.
        among: which count, at least k + 1; the others' group means nothing.

    References:
        Calinski, Harabasz 1974, "A dendrite method for cluster analysis".
    """
    squares, number = jnp.diagonal(products), starts.shape[0]

    def apart(shares):
        """||x_j - c_k||^2 with c_k = sum_i shares_ki x_i."""
        along = jnp.matmul(shares, products, precision=jax.lax.Precision.HIGHEST)
        own = jnp.sum(along * shares, axis=1)
        return jnp.maximum(squares[None, :] - 2 * along + own[:, None], 0.0)

    def means(labels, shares):
        members = (labels[None, :] == jnp.arange(number)[:, None]) & among[None, :]
        members = members.astype(products.dtype)
        sizes = jnp.sum(members, axis=1)[:, None]
        return jnp.where(sizes > 0, members / jnp.maximum(sizes, 1.0), shares), sizes[:, 0] > 0

    def lloyd(loop):
        step, labels, shares, _ = loop
        moved, _ = means(labels, shares)
        new = jnp.argmin(apart(moved), axis=0)
        return step + 1, new, moved, jnp.any((new != labels) & among)

    first = jax.nn.one_hot(starts, squares.shape[0], dtype=products.dtype)
    begin = (0, jnp.argmin(apart(first), axis=0), first, jnp.bool_(True))
    going = lambda loop: (loop[0] < STEPS) & loop[3]
    _, labels, shares, _ = jax.lax.while_loop(going, lloyd, begin)

    there = among.astype(products.dtype)
    count, used = jnp.sum(there), jnp.sum(means(labels, shares)[1]).astype(products.dtype)
    own = jnp.take_along_axis(apart(shares), labels[None, :], axis=0)[0]
    within, whole = jnp.sum(own * there), apart((there / jnp.maximum(count, 1.0))[None, :])[0]
    total = jnp.sum(whole * there)
    spread = within > SPREAD * total
    between = jnp.maximum(total - within, 0.0) / jnp.maximum(used - 1, 1.0)
    inside = within / jnp.maximum(count - used, 1.0)
    return labels, jnp.where(spread, between / jnp.where(spread, inside, 1.0), 1.0)
