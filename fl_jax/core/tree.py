"""Arithmetic on pytrees of arrays: a model, an update or a gradient as one vector.

Reductions are taken in float32 and leaf by leaf, in the order of `jax.tree.leaves`.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fl_jax.core import dtypes
from fl_jax.core.types import Array, Bool, Float, Key, PyTree


def add(x: PyTree, y: PyTree) -> PyTree:
    """x + y, leaf by leaf."""
    return jax.tree.map(jnp.add, x, y)


def sub(x: PyTree, y: PyTree) -> PyTree:
    """x - y, leaf by leaf."""
    return jax.tree.map(jnp.subtract, x, y)


def scale(factor, x: PyTree) -> PyTree:
    """factor * x, every leaf keeping its dtype; narrow floats are multiplied in float32."""

    def one(a):
        wide = dtypes.wide(a.dtype) if jnp.issubdtype(a.dtype, jnp.floating) else a.dtype
        return (jnp.asarray(factor, wide) * a.astype(wide)).astype(a.dtype)

    return jax.tree.map(one, x)


def where(condition: Bool[Array, ""], x: PyTree, y: PyTree) -> PyTree:
    """x if the condition holds, else y, as a select: nothing of the other side remains."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), x, y)


def zeros_like(x: PyTree) -> PyTree:
    """Zeros of the shapes and dtypes of x, which may be abstract (`jax.eval_shape`)."""
    return jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), x)


def apart(x: PyTree) -> PyTree:
    """x with a copy of every array that stands in it a second time, so that x can be donated."""
    seen = set()

    def one(a):
        again = isinstance(a, jax.Array) and id(a) in seen
        seen.add(id(a))
        return jnp.copy(a) if again else a

    return jax.tree.map(one, x)


def wide(x: PyTree) -> PyTree:
    """x with its floats as they are to be added up: float32, or float64 where they are that."""
    floating = lambda a: jnp.issubdtype(a.dtype, jnp.floating)
    return jax.tree.map(lambda a: a.astype(dtypes.wide(a.dtype)) if floating(a) else a, x)


def cast(x: PyTree, like: PyTree) -> PyTree:
    """x in the dtypes of `like`."""
    return jax.tree.map(lambda a, b: a.astype(b.dtype), x, like)


def normal(key: Key[Array, ""], x: PyTree, deviation) -> PyTree:
    """Gaussian noise of this standard deviation in the shapes and dtypes of x.

    It is drawn in float32 and rounded: bfloat16's own has 128 values, none beyond 2.9 deviations.
    """
    leaves, treedef = jax.tree.flatten(x)
    keys = jax.random.split(key, len(leaves))

    def draw(k, a):
        dtype = dtypes.wide(a.dtype)
        noise = jnp.asarray(deviation, dtype) * jax.random.normal(k, a.shape, dtype)
        return noise.astype(a.dtype)

    return jax.tree.unflatten(treedef, [draw(k, a) for k, a in zip(keys, leaves, strict=True)])


def dot(x: PyTree, y: PyTree) -> Float[Array, ""]:
    """Inner product of x and y as flat vectors."""
    leaves = zip(jax.tree.leaves(x), jax.tree.leaves(y), strict=True)
    products = [jnp.vdot(a.astype(jnp.float32), b.astype(jnp.float32)) for a, b in leaves]
    return sum(products, jnp.float32(0))


def squared_norm(x: PyTree) -> Float[Array, ""]:
    """Squared Euclidean norm of x as a flat vector."""
    squares = [jnp.sum(jnp.square(a.astype(jnp.float32))) for a in jax.tree.leaves(x)]
    return sum(squares, jnp.float32(0))


def norm(x: PyTree) -> Float[Array, ""]:
    """Euclidean norm of x as a flat vector, with derivative 0 (not NaN) at x = 0; NaN of NaN."""
    square = squared_norm(x)
    nothing = square == 0
    return jnp.where(nothing, 0.0, jnp.sqrt(jnp.where(nothing, 1.0, square)))


def clip(x: PyTree, bound) -> PyTree:
    """x min(1, bound / ||x||), every leaf keeping its dtype.

    The length is at most the bound, to float32's rounding, however narrow the leaves are: they are
    made as much shorter as rounding them could make them longer. Without a margin, numbers of
    bfloat16 that are all rounded up are longer by 0.4 %.
    """
    floats = [a.dtype for a in jax.tree.leaves(x) if jnp.issubdtype(a.dtype, jnp.floating)]
    narrow = [float(jnp.finfo(d).eps) / 2 for d in floats if dtypes.wide(d) != d]
    inside = bound * (1 - max(narrow, default=0.0))
    return scale(jnp.minimum(1.0, inside / jnp.maximum(norm(x), 1e-30)), x)


def cosine(x: PyTree, y: PyTree) -> Float[Array, ""]:
    """Cosine of the angle between x and y; 0 where one of them is zero."""
    size = norm(x) * norm(y)
    return jnp.where(size > 0, dot(x, y) / jnp.where(size > 0, size, 1.0), 0.0)


def all_finite(x: PyTree) -> Bool[Array, ""]:
    """Whether no floating-point element of x is infinite or NaN."""
    floating = [a for a in jax.tree.leaves(x) if jnp.issubdtype(a.dtype, jnp.inexact)]
    finite = jnp.bool_(True)
    for leaf in floating:
        finite &= jnp.all(jnp.isfinite(leaf))
    return finite


def size(x: PyTree) -> int:
    """Number of elements of x, which may be abstract."""
    return sum(int(np.prod(a.shape)) for a in jax.tree.leaves(x))


def nbytes(x: PyTree) -> int:
    """Bytes that x takes, which may be abstract."""
    return sum(int(np.prod(a.shape)) * a.dtype.itemsize for a in jax.tree.leaves(x))


def named_leaves(x: PyTree) -> dict[str, Any]:
    """The leaves of x, whatever they are, by path, as in `params/dense/kernel`."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(x)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): a for path, a in leaves}


def below(x: PyTree, path: str) -> dict[str, Any]:
    """The leaves of x that lie at this path or below it, by their whole path.

    Example:
        >>> below({"head": {"bias": 1, "kernel": 2}, "headless": 3}, "head")
        {'head/bias': 1, 'head/kernel': 2}
    """
    return {name: a for name, a in named_leaves(x).items() if f"{name}/".startswith(f"{path}/")}


def map_named(f: Callable[..., Any], x: PyTree, *rest: PyTree) -> PyTree:
    """f(path, leaf of x, leaves of the rest), leaf by leaf; paths as in `named_leaves`.

    Example:
        >>> map_named(lambda path, leaf: f"{path} is {leaf}", {"dense": {"bias": 1}})
        {'dense': {'bias': 'dense/bias is 1'}}
    """
    text = lambda path: jax.tree_util.keystr(path, simple=True, separator="/")
    return jax.tree_util.tree_map_with_path(lambda path, *a: f(text(path), *a), x, *rest)
