"""Products of activations and matrices, with a derivative that a CPU computes at full speed."""

import functools
import math

import jax
import jax.numpy as jnp

from fl_jax.core import dtypes
from fl_jax.core.types import Array, Float
from fl_jax.nn import tiles


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def dense(
    x: Float[Array, "..."], kernel: Float[Array, "..."], inputs: int = 1
) -> Float[Array, "..."]:
    """x times kernel over the last `inputs` axes of x, which are the first of the kernel.

    The derivative by the kernel is x^T dy, a product over the rows of both. XLA's fast matrix
    kernels for CPUs take one axis of rows; given several, they step aside for one that is four
    times slower. So all rows are put on one axis first. In bfloat16 the products are written so
    that a CPU computes them in its matrix tiles (`nn.tiles`).

    Args:
        x: (*batch, *in).
        kernel: (*in, *out), one dtype with x.
        inputs: how many axes `in` are.

    Example:
        >>> import jax.numpy as jnp
        >>> dense(jnp.ones((5, 7, 2, 3)), jnp.ones((2, 3, 4)), 2).shape
        (5, 7, 4)
    """
    if _split() or not tiles.fit(x):
        return jnp.tensordot(x, kernel, axes=inputs)
    rows, columns = _flat(x, x.ndim - inputs), _flat(kernel, inputs)
    y = tiles.product(rows, columns)
    return y.reshape(*x.shape[: x.ndim - inputs], *kernel.shape[inputs:])


def _forward(x, kernel, inputs):
    return dense(x, kernel, inputs), (x, kernel)


def _backward(inputs, residuals, dy):
    x, kernel = residuals
    rows = x.ndim - inputs
    if tiles.fit(x) and not _split():
        flat = _flat(dy, rows)
        dx = tiles.product(flat, _flat(kernel, inputs), turned=True)
        dkernel = tiles.product_over_rows(_flat(x, rows), flat)
        return dx.reshape(x.shape), dkernel.reshape(kernel.shape)
    outs = tuple(range(rows, dy.ndim)), tuple(range(inputs, kernel.ndim))
    dx = jnp.tensordot(dy, kernel, axes=outs)
    if _split():
        batch = tuple(range(rows))
        return dx, jnp.tensordot(x, dy, axes=(batch, batch))
    dkernel = jnp.tensordot(_flat(x, rows), _flat(dy, rows), axes=((0,), (0,)))
    return dx, dkernel.reshape(kernel.shape)


dense.defvjp(_forward, _backward)


@jax.custom_vjp
def bias(y: Float[Array, "*batch out"], b: Float[Array, "*out"]) -> Float[Array, "*batch out"]:
    """y + b for every row; the derivative by b is summed in float32.

    Args:
        y: (*batch, *out).
        b: (*out), one dtype with y.
    """
    return y + jnp.broadcast_to(b, y.shape)


def _bias_forward(y, b):
    return bias(y, b), b


def _bias_backward(b, dy):
    rows = tuple(range(dy.ndim - b.ndim))
    return dy, jnp.sum(dy.astype(dtypes.wide(dy.dtype)), axis=rows).astype(b.dtype)


bias.defvjp(_bias_forward, _bias_backward)


def _flat(a, rows: int):
    """The first `rows` axes as one, and the others as one."""
    return a.reshape(math.prod(a.shape[:rows]), -1)


def _split() -> bool:
    """Whether the compiler splits axes over a mesh, which joining them would hinder.

    Inside `shard_map` every device has arrays of its own (the mesh's axes are `Manual`).
    """
    mesh = jax.sharding.get_abstract_mesh()
    kinds = zip(mesh.axis_sizes, mesh.axis_types, strict=True)
    return any(size > 1 and kind.name != "Manual" for size, kind in kinds)
