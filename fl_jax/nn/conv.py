"""Two-dimensional convolution as matrix products.

XLA's CPU backend runs the derivatives of its own convolution on a slow path inside `scan` and
`while` (jax 0.10.2), and under `vmap` over kernels it becomes a grouped convolution, whose
derivative is slow on every backend.
Written with matrix products, a convolution costs the same wherever it stands.
`python -m experiments bench federated` times a training step of the EMNIST network built of it.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from fl_jax.core import errors
from fl_jax.core.types import Array, Float
from fl_jax.nn import winograd

METHODS = ("auto", "patches", "rows", "winograd", "library")
# Below this many input channels the products of the other forms are too thin to pay.
_WIDE = 16

Padding = str | int | Sequence[tuple[int, int]]


def conv(
    x: Float[Array, "n h w c"],  # c must be i; left to the check below, which says so
    kernel: Float[Array, "kh kw i o"],
    *,
    strides: int | tuple[int, int] = 1,
    padding: Padding = "VALID",
    method: str = "auto",
) -> Float[Array, "n ho wo o"]:
    """Cross-correlation of images with a kernel, as neural networks call convolution.

        y[n, r, s, o] = sum_{a, b, i} x[n, r * stride + a, s * stride + b, i] kernel[a, b, i, o]

    Args:
        x: images (n, h, w, i).
        kernel: (kh, kw, i, o).
        strides: of both axes, or (vertical, horizontal).
        padding: "VALID" (none), "SAME" (ceil(size / stride) outputs, the odd pixel of padding
            below and to the right), a number of pixels all round, or ((top, bottom),
            (left, right)).
        method: how it is computed; equal up to rounding, differentiable to any order, and fit
            for `scan` and for `vmap` over kernels.
            `patches`: all kh * kw shifted images side by side on the channel axis, one product.
            `rows`: the kw horizontal shifts side by side, one product with all kernel rows,
            whose kh results are shifted vertically and added; a third of the memory of patches.
            `winograd`: 3 x 3 kernels with stride 1 in a quarter of the multiplications, to
            1e-6 of the norm in float32 (`nn.winograd`).
            `library`: `jax.lax.conv_general_dilated`, the slow twin of the others on CPU and
            the fast path of accelerators.
            `auto`: on CPU patches below 16 input channels and with other strides than 1, else
            winograd for 3 x 3 kernels and rows for the rest; library on accelerators.

    Returns:
        (n, ho, wo, o), of the dtype of x and kernel.

    Raises:
        ConfigError: an unknown method.
        ValueError: channels that do not match, an image smaller than the kernel, or `winograd`
            for a kernel that is not 3 x 3 with stride 1.

    Example:
        >>> import jax.numpy as jnp
        >>> y = conv(jnp.ones((2, 8, 8, 3)), jnp.ones((3, 3, 3, 5)), padding="SAME")
        >>> y.shape, float(y[0, 4, 4, 0]), float(y[0, 0, 0, 0])
        ((2, 8, 8, 5), 27.0, 12.0)
    """
    kh, kw, inputs, _ = kernel.shape
    if x.shape[-1] != inputs:
        raise ValueError(
            f"the kernel takes {inputs} channels, but the images {x.shape} have {x.shape[-1]}."
        )
    strides = (strides, strides) if isinstance(strides, int) else tuple(strides)
    pads = pixels(padding, x.shape[1:3], (kh, kw), strides)
    size = [n + low + high for n, (low, high) in zip(x.shape[1:3], pads, strict=True)]
    if size[0] < kh or size[1] < kw:
        raise ValueError(
            f"images of {size[0]} x {size[1]} pixels, padding included, are smaller than the"
            f" kernel of {kh} x {kw}."
        )
    method = resolve(method, kernel.shape, strides)
    if method == "library":
        return jax.lax.conv_general_dilated(
            x, kernel, strides, pads, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
    if any(low or high for low, high in pads):
        x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    return {"patches": _patches, "rows": _rows, "winograd": _winograd}[method](x, kernel, strides)


def resolve(method: str, kernel_shape: Sequence[int], strides: tuple[int, int]) -> str:
    """The method that `method` stands for, "auto" decided for the default backend."""
    errors.one_of("convolution method", method, METHODS)
    fits = tuple(kernel_shape[:2]) == (3, 3) and strides == (1, 1)
    if method == "winograd" and not fits:
        raise ValueError(
            "method='winograd' is for 3 x 3 kernels with stride 1, got"
            f" {kernel_shape[0]} x {kernel_shape[1]} and strides {strides}; use 'patches'."
        )
    if method != "auto":
        return method
    if jax.default_backend() != "cpu":
        return "library"
    if kernel_shape[2] < _WIDE or strides != (1, 1):
        return "patches"
    return "winograd" if fits else "rows"


def pixels(
    padding: Padding,
    size: tuple[int, int],
    kernel: tuple[int, int],
    strides: tuple[int, int],
) -> list[tuple[int, int]]:
    """The padding in pixels, ((top, bottom), (left, right)), of images of this size."""
    if isinstance(padding, int):
        return [(padding, padding)] * 2
    if isinstance(padding, str):
        errors.one_of("padding", padding, ("VALID", "SAME"))
        return jax.lax.padtype_to_pads(size, kernel, strides, padding)
    return [tuple(pair) for pair in padding]


def _reach(x, kernel_size, stride, axis):
    """(outputs, length of the slice that they take) along an axis."""
    outputs = (x.shape[axis] - kernel_size) // stride + 1
    return outputs, stride * (outputs - 1) + 1


def _patches(x, kernel, strides):
    kh, kw, inputs, features = kernel.shape
    h, high = _reach(x, kh, strides[0], 1)
    w, wide = _reach(x, kw, strides[1], 2)
    shifted = [
        x[:, a : a + high : strides[0], b : b + wide : strides[1]]
        for a in range(kh)
        for b in range(kw)
    ]
    patches = jnp.concatenate(shifted, axis=-1).reshape(-1, kh * kw * inputs)
    return (patches @ kernel.reshape(-1, features)).reshape(x.shape[0], h, w, features)


def _rows(x, kernel, strides):
    kh, kw, inputs, features = kernel.shape
    _, high = _reach(x, kh, strides[0], 1)
    w, wide = _reach(x, kw, strides[1], 2)
    shifted = [x[:, :, b : b + wide : strides[1]] for b in range(kw)]
    rows = jnp.concatenate(shifted, axis=-1).reshape(-1, kw * inputs)
    # (kw * i, kh * o): every row of patches meets every row of the kernel.
    weight = kernel.transpose(1, 2, 0, 3).reshape(kw * inputs, kh * features)
    product = (rows @ weight).reshape(x.shape[0], x.shape[1], w, kh, features)
    return sum(product[:, a : a + high : strides[0], :, a] for a in range(kh))


def _winograd(x, kernel, strides):
    del strides  # 1
    h, w = x.shape[1] - 2, x.shape[2] - 2
    # A size that is no multiple of the tiles' gets more pixels, whose outputs are cut off.
    x = jnp.pad(x, ((0, 0), (0, -h % winograd.STEP), (0, -w % winograd.STEP), (0, 0)))
    return winograd.join(*winograd.conv(winograd.cut(x), kernel))[:, :h, :w]


class Conv(nnx.Module):
    """A convolution layer: kernel (kh, kw, i, o) and, unless switched off, bias (o,)."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int | tuple[int, int] = 3,
        *,
        strides: int | tuple[int, int] = 1,
        padding: Padding = "SAME",
        use_bias: bool = True,
        method: str = "auto",
        kernel_init: nnx.Initializer = nnx.initializers.lecun_normal(),
        rngs: nnx.Rngs,
    ):
        """Arguments as in `conv`; the bias starts at 0."""
        errors.one_of("convolution method", method, METHODS)
        size = (kernel_size,) * 2 if isinstance(kernel_size, int) else tuple(kernel_size)
        shape = (*size, in_features, out_features)
        self.kernel = nnx.Param(kernel_init(rngs.params(), shape, jnp.float32))
        self.bias = nnx.Param(jnp.zeros(out_features)) if use_bias else None
        self.strides = strides
        self.padding = padding
        self.method = method

    def __call__(self, x: Float[Array, "n h w i"]) -> Float[Array, "n ho wo o"]:
        y = conv(
            x,
            self.kernel[...],
            strides=self.strides,
            padding=self.padding,
            method=self.method,
        )
        return y if self.bias is None else y + self.bias[...].reshape(1, 1, 1, -1)
