"""All participants' data as one resident array, every participant a slice of it."""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from fl_jax.core import errors
from fl_jax.core.types import PyTree


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Population:
    """Examples ordered by participant; participant i owns [start[i], start[i] + size[i]).

    It is put on the device once: a round gathers what its cohort needs, and nothing travels from
    the host, whether there are ten participants or ten thousand.
    """

    examples: PyTree  # leaves (examples, ...)
    start: PyTree  # (participants,) int32
    size: PyTree  # (participants,) int32
    longest: int = dataclasses.field(metadata={"static": True})  # share; it shapes the shuffle


def make(examples: PyTree, shares: Sequence[np.ndarray]) -> Population:
    """The population in which participant i owns the examples `shares[i]`.

    Args:
        examples: pytree of arrays with one leading axis, e.g. {"x": images, "y": labels}.
        shares: one array of example indices per participant, from `data.partition`.

    Raises:
        DataError: a participant without examples, an index that is out of range, or
            shares that are no indices, such as masks.
    """
    count = {len(leaf) for leaf in jax.tree.leaves(examples)}
    if len(count) != 1:
        raise errors.DataError(
            f"all arrays of a population need the same number of examples, got {sorted(count)}."
        )
    size = np.array([len(share) for share in shares], np.int32)
    if not len(size) or size.min() == 0:
        who = int(np.argmin(size)) if len(size) else 0
        raise errors.DataError(
            f"participant {who} of {len(size)} holds no example; give every participant at least"
            " one (fewer participants, a larger alpha, or another seed of the split)."
        )
    order = np.concatenate(shares)
    if order.ndim != 1 or not np.issubdtype(order.dtype, np.integer):
        raise errors.DataError(
            "a share is one row of whole numbers, the indices of its examples (np.flatnonzero of a"
            f" mask); got {order.dtype} of {order.ndim} axes."
        )
    if order.min() < 0 or order.max() >= max(count):
        wrong = int(order.min() if order.min() < 0 else order.max())
        raise errors.DataError(
            f"shares name example {wrong}, but there are {max(count)} examples, 0 to"
            f" {max(count) - 1}."
        )
    start = np.concatenate([[0], np.cumsum(size)[:-1]]).astype(np.int32)
    taken = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)[order]), examples)
    return Population(taken, jnp.asarray(start), jnp.asarray(size), int(size.max()))


def check_labels(labels: np.ndarray, classes: int) -> None:
    """Refuses labels outside 0..classes-1, which a cross-entropy would clip silently."""
    low, high = int(np.min(labels)), int(np.max(labels))
    if low < 0 or high >= classes:
        raise errors.DataError(
            f"labels must lie in 0..{classes - 1}, but they range from {low} to {high}; relabel"
            " them or set the number of classes."
        )


def check_images(images: np.ndarray, shape: tuple[int, ...]) -> None:
    """Refuses images of another shape than (n, *shape)."""
    if images.shape[1:] != tuple(shape):
        raise errors.DataError(
            f"images must have the shape (n, {', '.join(map(str, shape))}), got {images.shape};"
            " resize them or choose a network for that shape."
        )
