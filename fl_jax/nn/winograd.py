"""3 x 3 convolution by the minimal filtering of Winograd, on images split into four phases.

F(2 x 2, 3 x 3) computes 2 x 2 outputs from a 4 x 4 input tile d and the kernel g as

    Y = A^T [ (G g G^T) . (B^T d B) ] A

with 16 multiplications where the definition takes 36. Summed over channels, each of the 16 is a
matrix product (tiles, inputs) @ (inputs, outputs), and so are its derivatives. The transforms
are sums and differences only; the result differs from the definition's by rounding, as another
order of summation does (a few 1e-7 of the norm in float32).

An image is kept as its four *phases*, x[p::2, q::2] for p, q in {0, 1}: tiles overlap by two
pixels, so every tensor that a transform reads or writes is then a contiguous block of a phase,
nothing is ever interleaved, and max pooling is the largest of four arrays. The phases of the
output are the phases of the next layer's input.

References:
    Winograd 1980, "Arithmetic Complexity of Computations", theorem 6.
    Lavin and Gray 2016, "Fast Algorithms for Convolutional Neural Networks", section 4.1.
"""

from collections.abc import Callable, Sequence

import jax.numpy as jnp

from fl_jax.core.types import Array, Float
from fl_jax.nn import barrier

Phases = list[list[Float[Array, "n _ _ _"]]]
"""phases[p][q] = x[:, p::2, q::2] of an image batch x with even height and width."""


def split(x: Float[Array, "n h w c"]) -> Phases:
    """The four phases of images of even height and width.

    Raises:
        ValueError: an odd height or width.
    """
    if x.shape[1] % 2 or x.shape[2] % 2:
        raise ValueError(
            f"phases need images of even height and width, got {x.shape[1]} x {x.shape[2]};"
            " pad them by one."
        )
    return [[x[:, p::2, q::2] for q in (0, 1)] for p in (0, 1)]


def join(phases: Phases) -> Float[Array, "n h w c"]:
    """The images whose phases these are: undoes `split`."""
    n, h, w, c = phases[0][0].shape
    rows = [jnp.stack(row, axis=3) for row in phases]
    return jnp.stack(rows, axis=2).reshape(n, 2 * h, 2 * w, c)


def conv(phases: Phases, kernel: Float[Array, "kh kw i o"]) -> Phases:
    """Cross-correlation with a 3 x 3 kernel, stride 1, no padding ("VALID").

    Args:
        phases: of images (n, h, w, i), h and w even and at least 4.
        kernel: (3, 3, i, o).

    Returns:
        The phases of the images (n, h - 2, w - 2, o).

    Raises:
        ValueError: another kernel size, or images smaller than 4 x 4.
    """
    n, height, width, _ = phases[0][0].shape
    if kernel.shape[:2] != (3, 3) or height < 2 or width < 2:
        raise ValueError(
            "the Winograd convolution takes a 3 x 3 kernel and images of at least 4 x 4, got"
            f" {kernel.shape[0]} x {kernel.shape[1]} and {2 * height} x {2 * width}; use"
            " method='patches'."
        )
    h, w = height - 1, width - 1  # tiles
    # Pixel (i, j) of tile (s, t) is pixel (2 s + i, 2 t + j) of the image.
    pixel = lambda i, j: phases[i % 2][j % 2][:, i // 2 : i // 2 + h, j // 2 : j // 2 + w]
    tile = [[pixel(i, j).reshape(n * h * w, -1) for j in range(4)] for i in range(4)]
    tile = _both_axes(_input, tile)
    weight = _both_axes(_kernel, [[kernel[i, j] for j in range(3)] for i in range(3)])
    # Sixteen products of two axes each: XLA's CPU backend runs them two at a time, and a single
    # one with a batch axis would first have to gather the tiles into one array.
    product = [[tile[i][j] @ weight[i][j] for j in range(4)] for i in range(4)]
    output = _both_axes(_output, product)
    # Each output is a sum of nine products, and more than one operation will read it.
    return [[barrier.materialize(y.reshape(n, h, w, -1)) for y in row] for row in output]


Row = Sequence[Array]


def _input(d: Row) -> Row:
    """B^T d, along one axis."""
    return [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]]


def _kernel(g: Row) -> Row:
    """G g, along one axis."""
    even, odd = (g[0] + g[2]) / 2, g[1] / 2
    return [g[0], even + odd, even - odd, g[2]]


def _output(m: Row) -> Row:
    """A^T m, along one axis."""
    return [m[0] + m[1] + m[2], m[1] - m[2] - m[3]]


def _both_axes(transform: Callable[[Row], Row], square: Sequence[Row]) -> list[Row]:
    """The one-dimensional transform along both axes of a square of arrays."""
    rows = [transform(row) for row in square]
    columns = [transform(column) for column in zip(*rows, strict=True)]
    return [list(row) for row in zip(*columns, strict=True)]
