"""Rules on single coordinates: the cohort sorted at every coordinate, in blocks that stay in cache.

A sort of m numbers at each of d coordinates is the cost of median, trimmed mean and Bulyan. A
library sort compares one pair at a time; a sorting network (Batcher's bitonic sorter) compares
whole rows of a block, so that it runs in vector instructions.
`python -m experiments bench defences` times the rules built of it beside `jnp.median`.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from fl_jax.core.types import Array, Bool, Float, Int, PyTree

BLOCK = {"cpu": 1024}  # coordinates sorted at once: m x 1024 floats stay in the second cache
BLOCK_ELSE = 2**17


def sort(x: Float[Array, "rows columns"]) -> Float[Array, "rows columns"]:
    """Every column in ascending order, as `jnp.sort(x, axis=0)`, without NaN.

    References:
        Batcher 1968, "Sorting networks and their applications".
    """
    rows = x.shape[0]
    full = 1 << (rows - 1).bit_length()
    if full > rows:
        x = jnp.concatenate([x, jnp.full((full - rows, x.shape[1]), jnp.inf, x.dtype)])
    width = 2
    while width <= full:  # merge neighbours: the second half is read backwards in the first step
        x = _exchange(x, width, mirrored=True)
        step = width // 2
        while step > 1:
            x = _exchange(x, step, mirrored=False)
            step //= 2
        width *= 2
    return x[:rows]


def _exchange(x, width: int, *, mirrored: bool):
    pairs = x.reshape(x.shape[0] // width, 2, width // 2, x.shape[1])
    low, high = pairs[:, 0], pairs[:, 1]
    if mirrored:
        high = high[:, ::-1]
    larger = jnp.maximum(low, high)
    if mirrored:
        larger = larger[:, ::-1]
    joined = jnp.stack([jnp.minimum(low, high), larger], axis=1).reshape(x.shape)
    # Held, or the compiler recomputes all earlier steps for each of the two consumers.
    return jax.lax.optimization_barrier(joined)


def coordinatewise(
    rule: Callable[[Float[Array, "cohort block"], Int[Array, ""]], Float[Array, " block"]],
    updates: PyTree,
    arrived: Bool[Array, " cohort"],
) -> PyTree:
    """rule(sorted values of a block of coordinates, how many of them arrived), everywhere.

    Args:
        rule: sees (cohort, block) values in ascending order, those that did not arrive last and
            infinite.
        updates: leaves (cohort, ...), float32 or narrower (then computed in float32).
        arrived: which rows count.

    Returns:
        Leaves (...), in the dtypes of `updates`.
    """
    count = jnp.sum(arrived).astype(jnp.int32)
    leaves, treedef = jax.tree.flatten(updates)
    flat = [leaf.reshape(leaf.shape[0], -1) for leaf in leaves]
    block = BLOCK.get(jax.default_backend(), BLOCK_ELSE)

    def one(values):
        behind = jnp.where(arrived[:, None], values.astype(jnp.float32), jnp.inf)
        return rule(sort(behind), count)

    def blocks(matrix):
        """A leaf in blocks, the last one overlapping the one before: no copy is padded."""
        size = matrix.shape[1]
        starts = jnp.minimum(jnp.arange(-(-size // block)) * block, size - block)
        read = lambda start: one(jax.lax.dynamic_slice_in_dim(matrix, start, block, axis=1))
        found = jax.lax.map(read, starts)
        rest = size - (found.shape[0] - 1) * block
        return jnp.concatenate([found[:-1].reshape(-1), found[-1, block - rest :]])

    # Small leaves (biases) go together: one program for all of them instead of one each.
    small = [i for i, matrix in enumerate(flat) if matrix.shape[1] <= block]
    out: list = [None] * len(flat)
    for i, matrix in enumerate(flat):
        if i not in small:
            out[i] = blocks(matrix)
    if small:
        joined = jnp.concatenate([flat[i].astype(jnp.float32) for i in small], axis=1)
        found = one(joined) if joined.shape[1] <= block else blocks(joined)
        at = 0
        for i in small:
            out[i] = found[at : at + flat[i].shape[1]]
            at += flat[i].shape[1]
    shaped = [o.reshape(a.shape[1:]).astype(a.dtype) for o, a in zip(out, leaves, strict=True)]
    return jax.tree.unflatten(treedef, shaped)


def middle(ordered: Float[Array, "cohort block"], count: Int[Array, ""]) -> Float[Array, " block"]:
    """The median of the first `count` of sorted rows; 0 where there are none."""
    low = ordered[jnp.maximum((count - 1) // 2, 0)]
    high = ordered[jnp.minimum(count // 2, ordered.shape[0] - 1)]
    return jnp.where(count > 0, (low + high) / 2, 0.0)
