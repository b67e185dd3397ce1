"""Products of activations and matrices, with a derivative that a CPU computes at full speed."""

import functools
import math

import jax
import jax.numpy as jnp

from fl_jax.core.types import Array, Float


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def dense(
    x: Float[Array, "..."], kernel: Float[Array, "..."], inputs: int = 1
) -> Float[Array, "..."]:
    """x times kernel over the last `inputs` axes of x, which are the first of the kernel.

    The derivative by the kernel is x^T dy, a product over the rows of both. XLA's fast matrix
    kernels for CPUs take one axis of rows; given several, they step aside for one that is four
    times slower. So all rows are put on one axis first.

    Args:
        x: (*batch, *in).
        kernel: (*in, *out), one dtype with x.
        inputs: how many axes `in` are.

    Example:
        >>> import jax.numpy as jnp
        >>> dense(jnp.ones((5, 7, 2, 3)), jnp.ones((2, 3, 4)), 2).shape
        (5, 7, 4)
    """
    return jnp.tensordot(x, kernel, axes=inputs)


def _forward(x, kernel, inputs):
    return dense(x, kernel, inputs), (x, kernel)


def _backward(inputs, residuals, dy):
    x, kernel = residuals
    outs = kernel.ndim - inputs
    rows = x.ndim - inputs
    out_axes = tuple(range(inputs, kernel.ndim)), tuple(range(rows, rows + outs))
    dx = jnp.tensordot(dy, kernel, axes=(out_axes[1], out_axes[0]))
    if _split():
        batch = tuple(range(rows))
        return dx, jnp.tensordot(x, dy, axes=(batch, batch))
    x = x.reshape(-1, math.prod(kernel.shape[:inputs]))
    dy = dy.reshape(-1, math.prod(kernel.shape[inputs:]))
    return dx, jnp.tensordot(x, dy, axes=((0,), (0,))).reshape(kernel.shape)


dense.defvjp(_forward, _backward)


def _split() -> bool:
    """Whether the compiler splits axes over a mesh, which joining them would hinder.

    Inside `shard_map` every device has arrays of its own (the mesh's axes are `Manual`).
    """
    mesh = jax.sharding.get_abstract_mesh()
    kinds = zip(mesh.axis_sizes, mesh.axis_types, strict=True)
    return any(size > 1 and kind.name != "Manual" for size, kind in kinds)
