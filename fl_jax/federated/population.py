"""All participants' data as one resident array, every participant a slice of it."""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from fl_jax.core import errors, tree
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


def _array(name: str, leaf) -> np.ndarray:
    """The leaf, of a dtype that JAX has and the numbers fit."""
    array = np.asarray(leaf)
    number = array.dtype == bool or jnp.issubdtype(array.dtype, jnp.number)
    if not number or not array.ndim:
        raise errors.DataError(
            f"examples are arrays of numbers with an axis of examples, but {name or 'they'} came as"
            f" {array.dtype} of shape {array.shape}; turn text into numbers (tokens), and lists"
            " into arrays."
        )
    kept = jax.dtypes.canonicalize_dtype(array.dtype)
    if kept != array.dtype:
        with np.errstate(over="ignore"):
            narrow = array.astype(kept)
        whole = array.dtype.kind in "iu"
        if np.any(narrow != array if whole else np.isfinite(array) & ~np.isfinite(narrow)):
            raise errors.DataError(
                f"{name or 'an array'} holds {array.dtype} numbers that {kept} does not reach;"
                " rescale or renumber them, or set jax_enable_x64."
            )
    return array


def make(examples: PyTree, shares: Sequence[np.ndarray]) -> Population:
    """The population in which participant i owns the examples `shares[i]`.

    Args:
        examples: pytree of arrays with one leading axis, e.g. {"x": images, "y": labels}.
        shares: one array of example indices per participant, from `data.partition`.

    Raises:
        DataError: a participant without examples, an index that is out of range,
            shares that are no indices, such as masks, or examples that are no numbers, or
            numbers that JAX would wrap or make infinite.
    """
    examples = tree.map_named(_array, examples)
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
    taken = jax.tree.map(lambda leaf: jnp.asarray(leaf[order]), examples)
    return Population(taken, jnp.asarray(start), jnp.asarray(size), int(size.max()))


def check_labels(labels: np.ndarray, classes: int) -> None:
    """Refuses labels that are no whole numbers of 0..classes-1."""
    labels = np.asarray(labels)
    if not labels.size or labels.dtype.kind not in "iu":
        raise errors.DataError(
            f"labels must be whole numbers, one at least, got {labels.size} of {labels.dtype}."
        )
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
