"""Indicators: marks in an update by which the next global model tells whether it was taken."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from fl_jax.core import errors, tree
from fl_jax.core.types import Array, Bool, Float, Int, PyTree

REJECTED, CLIPPED, ACCEPTED = 0, 1, 2


def leaf_of(params: PyTree, path: str) -> Array:
    """The leaf at this path, flat, float32 at least.

    Raises:
        ConfigError: no leaf there.
    """
    leaves = tree.named_leaves(params)
    return tree.wide(leaves[errors.one_of("parameter for indicators", path, leaves)].reshape(-1))


def with_leaf(params: PyTree, path: str, flat: Float[Array, " size"]) -> PyTree:
    """The parameters with other values in this leaf."""
    put = lambda name, a: flat.reshape(a.shape).astype(a.dtype) if name == path else a
    return tree.map_named(put, params)


def curvature(
    value: Callable[[PyTree], Float[Array, ""]], params: PyTree, path: str
) -> Float[Array, " size"]:
    """sum_j d^2 L / dw_i dw_j over the leaf's coordinates j, for each of its coordinates i."""

    def total_slope(flat):
        slope = jax.grad(lambda flat: value(with_leaf(params, path, flat)))(flat)
        return jnp.sum(slope)

    return jax.grad(total_slope)(leaf_of(params, path))


def choose(
    moved: Float[Array, " size"],
    bend: Float[Array, " size"],
    count: int,
    candidates: int = 10,
) -> Int[Array, " count"]:
    """Coordinates that nobody needs: of those that move least, those of the least curvature.

    Args:
        moved: how far training moves each, >= 0.
        bend: the loss's curvature in each.
        count: how many are wanted.
        candidates: coordinates that are looked at for each of these.

    Raises:
        ConfigError: fewer coordinates than are wanted.
    """
    if len(moved) < count:
        raise errors.ConfigError(
            f"{count} indicators need as many coordinates, but the parameter named for them has"
            f" {len(moved)}; name a larger one."
        )
    still = jax.lax.top_k(-moved, min(candidates * count, len(moved)))[1]
    return still[jax.lax.top_k(-jnp.abs(bend)[still], count)[1]]


def implant(
    params: PyTree,
    path: str,
    place: Int[Array, ""],
    *,
    factor: float = 1e5,
    least=1e-3,
    most=jnp.inf,
) -> tuple[PyTree, Float[Array, ""]]:
    """(the update with `factor` times its own value in this coordinate, that value).

    It is no shorter than `least`, which rounding does not hide in the sum with a parameter (in
    the authors' code that holds of a coordinate that does not move at all), and no longer than
    `most`.
    """
    flat = leaf_of(params, path)
    own = factor * flat[place]
    value = jnp.where(own < 0, -1.0, 1.0) * jnp.clip(jnp.abs(own), least, most)
    marked = with_leaf(params, path, flat.at[place].set(value.astype(flat.dtype)))
    return marked, leaf_of(marked, path)[place]  # rounded as it is sent


def verdicts(
    feedback: Float[Array, " senders"], there: Bool[Array, " senders"], threshold: float
) -> tuple[Int[Array, " senders"], Bool[Array, ""]]:
    """(what became of each update, whether the server adds noise).

    An update whose mark arrives at no more than `threshold` of its size was rejected, one at no
    more than 0.8 of the largest was clipped. A mark that arrives larger than it was sent, or with
    the other sign, says that the server adds noise, and then none can be read.

    Args:
        feedback: how far the global model moved at each mark, over what was put there.
        there: who put one.
        threshold: 1e-5; 1e-4 for small networks [authors' code].
    """
    wrong = (feedback > 1 + threshold) | (feedback < -threshold) | ~jnp.isfinite(feedback)
    largest = jnp.max(jnp.where(there, feedback, -jnp.inf))
    taken = jnp.where(feedback <= 0.8 * largest, CLIPPED, ACCEPTED)
    return jnp.where(feedback <= threshold, REJECTED, taken), jnp.any(wrong & there)
