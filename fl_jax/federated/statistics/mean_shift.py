"""Mean shift on the few points of a round: clusters whose number nobody has to know."""

import jax
import jax.numpy as jnp

from fl_jax.core.types import Array, Bool, Float

STEPS = 300  # at most


def _apart(x, y):
    return jnp.linalg.norm(x[:, None, :] - y[None, :, :], axis=-1)


def bandwidth(
    points: Float[Array, "cohort features"], among: Bool[Array, " cohort"], quantile: float
) -> Float[Array, ""]:
    """The mean distance to the farthest of the nearest count * quantile points, oneself included.

    References:
        scikit-learn's `estimate_bandwidth`, which the authors of SignGuard use.
    """
    count = jnp.sum(among)
    apart = jnp.sort(jnp.where(among[None, :], _apart(points, points), jnp.inf), axis=1)
    nearest = jnp.maximum((count.astype(jnp.float32) * quantile).astype(jnp.int32), 1)
    far = jnp.where(among, apart[:, nearest - 1], 0.0)
    return jnp.sum(far) / jnp.maximum(count, 1).astype(jnp.float32)


def largest(
    points: Float[Array, "cohort features"],
    among: Bool[Array, " cohort"],
    width: Float[Array, ""],
) -> Bool[Array, " cohort"]:
    """The members of the largest cluster.

    Flat kernel: a centre starts at every point and moves to the mean of the points within
    `width` until none moves. Where centres lie within `width` of each other, the one with most
    points around it stays. A point belongs to the nearest centre that stayed if that is within
    `width`. Of equally large clusters the one with most points around its centre wins.

    Args:
        points: features, finite.
        among: which points count.
        width: >= 0.

    References:
        Comaniciu, Meer 2002, "Mean Shift: A Robust Approach Toward Feature Space Analysis".
    """
    size = points.shape[0]
    # The mean of equal points is theirs to the last digits only.
    width = jnp.maximum(width, 1e-6 * jnp.max(jnp.abs(jnp.where(among[:, None], points, 0.0))))

    def near(centres):
        return ((_apart(centres, points) <= width) & among[None, :]).astype(points.dtype)

    def move(loop):
        step, centres, _ = loop
        around = near(centres)
        total = jnp.maximum(jnp.sum(around, axis=1), 1.0)[:, None]
        moved = around @ points / total
        far = jnp.where(among, jnp.linalg.norm(moved - centres, axis=1), 0.0)
        return step + 1, moved, jnp.max(far) > 1e-3 * width

    going = lambda loop: (loop[0] < STEPS) & loop[2]
    _, centres, _ = jax.lax.while_loop(going, move, (0, points, jnp.bool_(True)))
    dense = jnp.where(among, jnp.sum(near(centres), axis=1), -1.0)
    # Ties by place, so that the order of the points does not matter.
    order = jnp.lexsort((*[-centres[:, c] for c in reversed(range(points.shape[1]))], -dense))
    centres, there = centres[order], among[order]
    meet = _apart(centres, centres) <= width

    def keep(i, kept):
        return kept.at[i].set(there[i] & ~jnp.any(meet[i] & kept))

    kept = jax.lax.fori_loop(0, size, keep, jnp.zeros(size, bool))
    away = jnp.where(kept[None, :], _apart(points, centres), jnp.inf)
    own = (jnp.argmin(away, axis=1)[:, None] == jnp.arange(size)[None, :]) & (away <= width)
    own &= among[:, None]
    return own[:, jnp.argmax(jnp.sum(own, axis=0))]
