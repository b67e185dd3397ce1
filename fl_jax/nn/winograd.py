"""3 x 3 convolution by the minimal filtering of Winograd, on tiles of 6 x 6 pixels.

F(4 x 4, 3 x 3) computes 4 x 4 outputs from a 6 x 6 input tile d and the kernel g as

    Y = A^T [ (G g G^T) . (B^T d B) ] A

with 36 multiplications where the definition takes 144. Summed over channels, each of the 36 is a
matrix product (tiles, inputs) @ (inputs, outputs). The transforms are matrices of constants on
both sides; written for the flattened tile, one Kronecker product each, they are matrix products
too, so that a CPU spends the whole convolution and its derivatives in its fastest kernel.

Two properties of the definition are lost, and one is given back:

* The result differs by rounding: about 1e-6 of its norm in float32, several times that of a sum
  of 3 x 3 products.
* Where the whole window of an output is zero, the definition gives exactly 0 and the tile
  rounding noise. On an empty ground a relu after a zero bias would then let through the
  derivatives of half of the noise. `conv` therefore says which windows are lit.

References:
    Winograd 1980, "Arithmetic Complexity of Computations", theorem 6.
    Lavin and Gray 2016, "Fast Algorithms for Convolutional Neural Networks", section 4.3.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from fl_jax.core.types import Array, Float
from fl_jax.nn import barrier

TILE, STEP = 6, 4  # pixels of a tile, and from one tile to the next

_B = np.array(  # B^T
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
)
_G = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24
_A = np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]])
_INPUT, _KERNEL, _OUTPUT = np.kron(_B, _B), np.kron(_G, _G), np.kron(_A, _A)
# Both axes by their phases: [p, q, i, j] at (2 i + p, 2 j + q).
_OUTPUT = _OUTPUT.reshape(2, 2, 2, 2, TILE**2).transpose(1, 3, 0, 2, 4).reshape(STEP**2, TILE**2)


def cut(x: Float[Array, "n h w c"], size: int = TILE) -> Float[Array, "size size n s t c"]:
    """The tiles of `size` pixels that begin at every fourth pixel.

    Args:
        x: images (n, 4 s - 4 + size, 4 t - 4 + size, c).
        size: of a tile; more than TILE where a further convolution comes first.

    Returns:
        (size, size, n, s, t, c): pixel (i, j) of tile (s, t) is pixel (4 s + i, 4 t + j).

    Raises:
        ValueError: images that no whole number of tiles covers.
    """
    n, *extent, c = x.shape
    if any(side < size or (side - size) % STEP for side in extent):
        raise ValueError(
            f"tiles of {size} pixels, {STEP} apart, do not cover {extent[0]} x {extent[1]};"
            f" pad each side to {size} and a multiple of {STEP} more."
        )
    s, t = ((side - size) // STEP + 1 for side in extent)
    more = -size % STEP
    x = jnp.pad(x, ((0, 0), (0, more), (0, more), (0, 0)))
    phase = x.reshape(n, -1, STEP, (extent[1] + more) // STEP, STEP, c).transpose(2, 4, 0, 1, 3, 5)
    first = lambda i: (i % STEP, i // STEP)

    def pixel(i, j):
        (p, a), (q, b) = first(i), first(j)
        return phase[p, q, :, a : a + s, b : b + t]

    rows = [jnp.stack([pixel(i, j) for j in range(size)]) for i in range(size)]
    return jnp.stack(rows)


def conv(
    tiles: Float[Array, "ti tj n s t i"], kernel: Float[Array, "ki kj i o"]
) -> tuple[Float[Array, "2 2 2 2 n s t o"], Float[Array, "2 2 2 2 n s t 1"]]:
    """Cross-correlation with a 3 x 3 kernel, stride 1, no padding ("VALID"), of tiles.

    Args:
        tiles: (6, 6, n, s, t, i), from `cut`.
        kernel: (3, 3, i, o).

    Returns:
        (outputs, lit): outputs[p, q, a, b] are pixels (2 a + p, 2 b + q) of the 4 x 4 of each
        tile; lit is 0 where the window of an output is all zero and the output is to be taken
        for 0, else 1. `join` and `max_pool` do so.

    Raises:
        ValueError: another size of kernel or tiles.
    """
    if kernel.shape[:2] != (3, 3) or tiles.shape[:2] != (TILE, TILE):
        raise ValueError(
            f"the Winograd convolution takes a 3 x 3 kernel and tiles of {TILE} x {TILE}, got"
            f" {kernel.shape[0]} x {kernel.shape[1]} and {tiles.shape[0]} x {tiles.shape[1]}; use"
            " method='patches'."
        )
    place, (i, o), dtype = tiles.shape[2:5], kernel.shape[2:], tiles.dtype
    # The transforms magnify rounding eightfold: half precision is not for them.
    wide = jnp.float32 if dtype.itemsize < 4 else dtype
    tiles, kernel = tiles.astype(wide), kernel.astype(wide)
    v = _matrix(_INPUT, tiles) @ tiles.reshape(TILE**2, -1)
    u = _matrix(_KERNEL, kernel) @ kernel.reshape(9, -1)
    product = jnp.einsum("tni,tio->tno", v.reshape(TILE**2, -1, i), u.reshape(TILE**2, i, o))
    y = _matrix(_OUTPUT, product) @ product.reshape(TILE**2, -1)
    return y.reshape(2, 2, 2, 2, *place, o).astype(dtype), _lit(jax.lax.stop_gradient(tiles))


def _matrix(constant, like):
    return jnp.asarray(constant, like.dtype)


def _lit(tiles):
    """1 where a 3 x 3 window of the tiles has a pixel that is not zero in some channel."""
    count = math.prod(tiles.shape[2:5])
    pixel = jnp.any(tiles.reshape(-1, tiles.shape[-1]) != 0, axis=-1).reshape(TILE, TILE, count)
    windows = [pixel[a : a + STEP, b : b + STEP] for a in range(3) for b in range(3)]
    lit = functools.reduce(jnp.logical_or, windows).astype(tiles.dtype)
    lit = lit.reshape(2, 2, 2, 2, count).transpose(1, 3, 0, 2, 4)
    lit = lit.reshape(2, 2, 2, 2, *tiles.shape[2:5], 1)
    return barrier.materialize(lit)  # each of the channels would compute it again


def join(
    outputs: Float[Array, "2 2 2 2 n s t o"], lit: Float[Array, "2 2 2 2 n s t 1"]
) -> Float[Array, "n h w o"]:
    """The images (n, 4 s, 4 t, o) of the outputs of `conv`."""
    n, s, t, o = outputs.shape[4:]
    y = jnp.where(lit > 0, outputs, 0)
    return y.transpose(4, 5, 2, 0, 6, 3, 1, 7).reshape(n, STEP * s, STEP * t, o)


def max_pool(
    outputs: Float[Array, "2 2 2 2 n s t o"], lit: Float[Array, "2 2 2 2 n s t 1"]
) -> Float[Array, "n h w o"]:
    """Equal to `pool.max_pool(join(outputs, lit), 2)`, ties included, without the larger image."""
    _, _, a, b, n, s, t, o = outputs.shape
    flat = lambda y: y.reshape(4, a * b * n * s * t, -1)
    # Held, because its derivative would be put in place again for each of the four.
    y = barrier.materialize(_largest(flat(outputs), flat(lit)))
    y = y.reshape(a, b, n, s, t, o).transpose(2, 3, 0, 4, 1, 5)
    return y.reshape(n, a * s, b * t, o)


@jax.custom_jvp
def _largest(y, lit):
    """The largest of four, each 0 where it is not lit."""
    return functools.reduce(jnp.maximum, _dark_is_zero(y, lit))


@_largest.defjvp
def _largest_jvp(primals, tangents):
    y = _dark_is_zero(*primals)
    largest = functools.reduce(jnp.maximum, y)
    # The first of equals takes the whole derivative, as that of `reduce_window` does.
    first = jnp.full_like(largest, 3)
    for place in (2, 1, 0):
        first = jnp.where(y[place] == largest, jnp.asarray(place, largest.dtype), first)
    chosen = jnp.arange(4, dtype=largest.dtype).reshape(4, 1, 1) == barrier.materialize(first)[None]
    return largest, jnp.sum(jnp.where(chosen, tangents[0], 0), axis=0)


def _dark_is_zero(y, lit):
    return [jnp.where(lit[place] > 0, y[place], 0) for place in range(4)]
