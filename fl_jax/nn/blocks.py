"""Convolution of few channels with pooling, on blocks of pixels.

The product of patches that a convolution is has as many columns as there are output channels, and
six do not fill a vector register. Here size x size pixels stand side by side on the channel axis.
A k x k kernel is then one of (1 + (k - 1) / size)^2 blocks, from size^2 i to size^2 o channels,
part of it zeros: more multiplications (2.6 times as many for k = 5 and blocks of 4 x 4, 1.4 for
2 x 2), but in wide products that a CPU computes faster, over patches of a sixth of the memory.
Pooling is then a maximum over four groups of columns, and what it leaves, blocks of half the
size, is the next layer's input as it lies. `python -m experiments bench simulators` times it.

References:
    LeCun et al. 1998, "Gradient-based learning applied to document recognition" (LeNet).
"""

import jax
import jax.numpy as jnp

from fl_jax.core.types import Array, Float, Shaped
from fl_jax.nn import barrier


def cut(x: Shaped[Array, "n h w c"], size: int) -> Shaped[Array, "n s t d"]:
    """The image in blocks: pixel (size s + p, size t + q) is at [s, t, (size p + q) c ...].

    Args:
        x: images (n, h, w, c), any dtype.
        size: pixels of a block's side, a divisor of h and w.

    Returns:
        (n, h / size, w / size, size^2 c).

    Example:
        >>> import jax.numpy as jnp
        >>> print(cut(jnp.arange(16).reshape(1, 4, 4, 1), 2)[0, 0])
        [[0 1 4 5]
         [2 3 6 7]]
    """
    n, h, w, c = x.shape
    if h % size or w % size:
        raise ValueError(f"blocks of {size} x {size} pixels do not cover images of {h} x {w}.")
    x = x.reshape(n, h // size, size, w // size, size, c).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(n, h // size, w // size, size * size * c)


def spread(kernel: Float[Array, "k k i o"], size: int) -> Float[Array, "rows columns"]:
    """The kernel as a matrix from the blocks below it to a block of outputs.

    Returns:
        (reach^2 size^2 i, 4 (size / 2)^2 o) with reach = 1 + (k - 1) / size. Rows: block, pixel in
        it, channel. Columns: place in the 2 x 2 window that is pooled, window, channel.
    """
    k, _, i, o = kernel.shape
    reach, half = 1 + (k - 1) // size, size // 2
    more = reach * size - k
    # One copy of the kernel, shifted, for each output pixel of the block.
    pads = [(p, more - p) for p in range(size)]
    all_of = jnp.stack(
        [jnp.pad(kernel, (down, right, (0, 0), (0, 0))) for down in pads for right in pads]
    )
    all_of = all_of.reshape(half, 2, half, 2, reach, size, reach, size, i, o)
    all_of = all_of.transpose(4, 6, 5, 7, 8, 1, 3, 0, 2, 9)
    return all_of.reshape((reach * size) ** 2 * i, size * size * o)


def conv_pool(
    blocks: Float[Array, "n s t d"], kernel: Float[Array, "k k i o"], size: int
) -> Float[Array, "n u v e"]:
    """`pool.max_pool(conv.conv(x, kernel), 2)` in blocks: stride 1, no padding ("VALID").

    Differentiable once, in reverse; of equals the first takes the derivative, as in `pool`.

    Args:
        blocks: (n, s, t, size^2 i), from `cut`.
        kernel: (k, k, i, o), k - 1 a multiple of `size`.
        size: of the blocks, even.

    Returns:
        (n, s - (k - 1) / size, t - (k - 1) / size, (size / 2)^2 o): the pooled image in blocks of
        half the size; for size = 2 the image itself.

    Raises:
        ValueError: a kernel that does not fit the blocks.
    """
    k, across, i, _ = kernel.shape
    n, s, t, d = blocks.shape
    if k != across or size % 2 or (k - 1) % size or d != size * size * i:
        raise ValueError(
            f"blocks of {size} x {size} pixels and {d} channels do not fit a kernel of {k} x"
            f" {across} and {i}: take an even size that divides {k - 1}, and {size * size * i}"
            " channels."
        )
    u, v, reach = s - (k - 1) // size, t - (k - 1) // size, 1 + (k - 1) // size
    below = [blocks[:, a : a + u, b : b + v] for a in range(reach) for b in range(reach)]
    patches = jnp.concatenate(below, axis=-1).reshape(n * u * v, -1)
    return _largest_product(patches, spread(kernel, size)).reshape(n, u, v, -1)


@jax.custom_vjp
def _largest_product(x, kernel):
    """The largest of four groups of columns of x @ kernel: (rows, columns / 4)."""
    return _forward(x, kernel)[0]


def _forward(x, kernel):
    four = (x @ kernel).reshape(x.shape[0], 4, -1)
    largest = jnp.max(four, axis=1)
    place = jnp.full_like(largest, 3)
    for i in (2, 1, 0):
        place = jnp.where(four[:, i] == largest, jnp.asarray(i, largest.dtype), place)
    return largest, (x, kernel, place)


def _backward(residuals, dy):
    x, kernel, place = residuals
    groups = jnp.arange(4, dtype=dy.dtype)
    # Both forms of the derivative are built from the quarter of it that is not zero.
    put = lambda place, dy, axis: jnp.where(
        jnp.expand_dims(place, axis) == jnp.expand_dims(groups, tuple({0, 1, 2} - {axis})),
        jnp.expand_dims(dy, axis),
        0,
    )
    whole = put(place, dy, 1).reshape(x.shape[0], -1)
    transposed = put(barrier.materialize(place.T), barrier.materialize(dy.T), 0)
    dkernel = barrier.materialize(transposed.reshape(-1, x.shape[0]) @ x).T
    return whole @ kernel.T, dkernel


_largest_product.defvjp(_forward, _backward)
