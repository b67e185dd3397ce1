"""Products of activations and matrices, with a derivative that a CPU computes at full speed."""

import functools
import math

import jax
import jax.numpy as jnp

from fl_jax.core.types import Array, Float
from fl_jax.nn import barrier


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def dense(
    x: Float[Array, "..."], kernel: Float[Array, "..."], inputs: int = 1
) -> Float[Array, "..."]:
    """x times kernel over the last `inputs` axes of x, which are the first of the kernel.

    The derivative by the kernel is x^T dy, a product over the rows of both. XLA's fast matrix
    kernels for CPUs want the left side contracted over its last axis; given x^T as an
    annotation they step aside for one that is four times slower. So the narrower of x and dy is
    written out transposed first.

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
    if _plain():
        batch = tuple(range(rows))
        return dx, jnp.tensordot(x, dy, axes=(batch, batch))
    width_in, width_out = math.prod(kernel.shape[:inputs]), math.prod(kernel.shape[inputs:])
    x, dy = x.reshape(-1, width_in), dy.reshape(-1, width_out)
    if width_in <= width_out:
        dkernel = barrier.materialize(x.T) @ dy
    else:
        dkernel = barrier.materialize(barrier.materialize(dy.T) @ x).T
    return dx, dkernel.reshape(kernel.shape)


dense.defvjp(_forward, _backward)


def _plain() -> bool:
    """Whether the compiler does better alone: off the CPU, or where a mesh splits the axes."""
    mesh = jax.sharding.get_abstract_mesh()
    return jax.default_backend() != "cpu" or (not mesh.empty and mesh.size > 1)
