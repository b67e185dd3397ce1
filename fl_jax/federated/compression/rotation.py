"""Codes after a random rotation, which makes every vector look like Gaussian noise."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from fl_jax.core import errors, rng
from fl_jax.core.types import Array, Float, Key
from fl_jax.federated.compression.base import FLOAT, Code

FEWEST = 32  # numbers that EDEN's rotations turn


def rotated(code: Code) -> Code:
    """The code on the rotated vector, and turned back.

    The vector is padded with zeros to a power of two, which the bits count. Server and participant
    know the rotation from a seed that they share.

    References:
        Suresh, Yu, Kumar, McMahan 2017, section 3 (stochastic rotated quantization).
    """

    def read(x, key):
        turn, draw = rng.fold(key, "rotation"), rng.fold(key, "code")
        return back(code.read(rotate(x, turn), draw), turn, x.size)

    return Code(read, lambda d: code.bits(padded(d)))


def eden(bits: int) -> Code:
    """The rotated vector on the best grid for Gaussian noise, scaled so that nothing is biased.

    With one bit this is DRIVE: the signs and one scale. The error of a vector is at most about
    0.57, 0.13, 0.036, 0.0096 of ||x||^2 with 1 to 4 bits, and errors of different participants
    average out. Sent are `bits` a number of the padded vector and the scale; what would not be
    shorter is sent as it is.

    For the uniform rotation, under which the scale takes all bias away, stand two Hadamard
    rotations one after the other: a single one turns a vector that is hardly more than one number
    into equal numbers, whose error no average lowers. Vectors are padded to 32 numbers at least,
    because there are too few rotations of fewer: all error of two numbers was bias, and of three
    padded ones up to 1 % of ||x||^2 still is.

    Nothing is drawn after the rotation: a number that lies between two points to the last bit goes
    where rounding errors put it, so that there, and only there, two plans of a cohort may read an
    update differently.

    Args:
        bits: b of a number, 1 to 8.

    References:
        Vargaftik et al. 2021, "DRIVE: One-bit Distributed Mean Estimation", section 4.2 (scale
        ||x||^2 / ||R x||_1); Vargaftik et al. 2022, "EDEN: Communication-Efficient and Robust
        Distributed Mean Estimation for Federated Learning", Algorithm 1.
    """
    errors.whole("bits", bits, 1)
    if bits > 8:
        raise errors.ConfigError(f"bits of eden are 1 to 8 a number, got {bits}.")
    points = centroids(bits)
    between = (points[1:] + points[:-1]) / 2
    search = "compare_all" if bits <= 4 else "scan"  # faster, but in proportion to the points

    def sent(d):
        return float(padded(d, FEWEST) * bits + FLOAT)

    def read(x, key):
        if sent(x.size) >= FLOAT * x.size:
            return x
        largest = jnp.max(jnp.abs(x))
        unit = jnp.where(largest > 0, largest, 1)
        keys = rng.fold(key, "first"), rng.fold(key, "second")
        turned = rotate(rotate(x / unit, keys[0], FEWEST), keys[1])
        length = jnp.sum(jnp.square(turned))
        deviation = jnp.sqrt(length / turned.size)
        edges = jnp.asarray(between, jnp.float32)
        place = jnp.searchsorted(edges, turned / deviation, method=search)
        told = jnp.asarray(points, jnp.float32)[place]
        scale = length / jnp.vdot(turned, told)
        once = back(scale * told, keys[1], turned.size)
        return jnp.where(largest > 0, back(once, keys[0], x.size) * unit, 0)

    return Code(read, lambda d: min(sent(d), float(FLOAT * d)), contracts=True)


@functools.cache
def centroids(bits: int) -> np.ndarray:
    """(2^bits,) float64: the points with the least mean square distance to standard normal noise.

    Lloyd-Max: every point the mean of what is nearest to it.

    Example:
        >>> centroids(1).round(4).tolist()  # sqrt(2 / pi)
        [-0.7979, 0.7979]
    """
    count = 2**bits
    points = special.ndtri((np.arange(count) + 0.5) / count)
    for _ in range(100_000):
        edges = np.concatenate([[-np.inf], (points[1:] + points[:-1]) / 2, [np.inf]])
        density = np.exp(-np.square(edges) / 2) / math.sqrt(2 * math.pi)
        new = -np.diff(density) / np.diff(special.ndtr(edges))
        moved, points = np.max(np.abs(new - points)), (new - new[::-1]) / 2
        if moved < 1e-12:
            break
    points.setflags(write=False)
    return points


def padded(d: int, least: int = 1) -> int:
    """The power of two, `least` at least, that a vector of d numbers is padded to."""
    return max(least, 1 << (d - 1).bit_length())


def rotate(x: Float[Array, " d"], key: Key[Array, ""], least: int = 1) -> Float[Array, " padded"]:
    """H D x: random signs, then the Hadamard matrix, orthonormal; d is padded with zeros."""
    whole = padded(x.size, least)
    return _hadamard(jnp.pad(x, (0, whole - x.size)) * _signs(key, whole))


def back(y: Float[Array, " padded"], key: Key[Array, ""], d: int) -> Float[Array, " d"]:
    """The first d numbers of what `rotate` turned, turned back."""
    return (_hadamard(y) * _signs(key, y.size))[:d]


def _signs(key, count):
    """+1 or -1 by each bit of the words that are drawn: a word a sign would cost four times it."""
    words = jax.random.bits(key, (-(-count // 32), 1), jnp.uint32)
    bits = (words >> jnp.arange(32, dtype=jnp.uint32)[None]) & 1
    return 1 - 2 * bits.reshape(-1)[:count].astype(jnp.float32)


def _hadamard(x):
    """The orthonormal Walsh-Hadamard transform in d log2(d) additions."""
    size, half = x.size, 1
    while half < size:
        pairs = x.reshape(-1, 2, half)
        x = jnp.stack([pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]], axis=1)
        half *= 2
    return x.reshape(-1) * (1 / math.sqrt(size))
