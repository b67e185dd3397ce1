"""What telescopes make of intensities: moments, beams, visibilities, profiles."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from algorithmic.disks import constants as c
from algorithmic.disks.broadcast import broadcasts
from fl_jax.core import errors


@broadcasts
def line_flux(cube: Float[Array, "*n V"], velocities: Float[Array, " V"]) -> Float[Array, "*n"]:
    """Integral over velocity by the trapezoid, e.g. Jy to Jy km/s; channels may rise or fall."""
    steps = jnp.diff(velocities) * jnp.sign(velocities[-1] - velocities[0])
    return jnp.sum(0.5 * (cube[..., 1:] + cube[..., :-1]) * steps, axis=-1)


@broadcasts
def moments(cube: Float[Array, "*n V"], velocities: Float[Array, " V"]):
    """(integral, mean velocity): NaN mean where there is no flux."""
    total = line_flux(cube, velocities)
    mean = line_flux(cube * velocities, velocities)
    return total, jnp.where(total > 0, mean / jnp.where(total > 0, total, 1.0), jnp.nan)


@broadcasts
def continuum_subtracted(cube: Float[Array, "*n V"]) -> Float[Array, "*n V"]:
    """The cube less the mean of its first and last channel."""
    return cube - 0.5 * (cube[..., :1] + cube[..., -1:])


@broadcasts
def convolve(
    image: Float[Array, "rows columns"], pixel: float, major: float, minor: float, angle=0.0
):
    """Convolution with a Gaussian beam, flux kept, by FFT on the periodic image.

    Args:
        image: square, rows from south to north, columns from east to west.
        pixel: side [arcsec].
        major: full width at half maximum [arcsec].
        minor: the same across.
        angle: of the major axis, east of north [degrees].

    Raises:
        ConfigError: an image that is not square; of a cube, `jax.vmap` over the channels.
    """
    if image.ndim != 2 or image.shape[0] != image.shape[1]:
        raise errors.ConfigError(
            f"the image should be square, (pixels, pixels), but {image.shape} came; cut it, and map"
            " over the channels of a cube."
        )
    side = image.shape[-1]
    frequency = jnp.fft.fftfreq(side, pixel)
    v, u = jnp.meshgrid(frequency, frequency, indexing="ij")
    turn = jnp.deg2rad(angle)
    # Columns run from east to west: u counts westwards.
    along = -u * jnp.sin(turn) + v * jnp.cos(turn)
    across = u * jnp.cos(turn) + v * jnp.sin(turn)
    sigma = 1 / (2 * np.sqrt(2 * np.log(2)))
    beam = jnp.exp(-2 * np.pi**2 * ((major * sigma * along) ** 2 + (minor * sigma * across) ** 2))
    return jnp.fft.ifft2(jnp.fft.fft2(image) * beam).real


@broadcasts
def visibilities(
    flux: Float[Array, "P V"], x: Float[Array, " P"], y: Float[Array, " P"], u, v, distance
) -> Complex[Array, "B V"]:
    """V(u, v) = sum F exp(-2 pi i (u x + v y)), direct: exact for any lines of sight.

    Args:
        flux: Jy of each line of sight.
        x: east [au].
        y: north [au].
        u: baselines eastwards [wavelengths], (B,).
        v: northwards.
        distance: [pc].
    """
    radian = c.AU / (c.PC * distance)
    phase = -2j * np.pi * radian * (u[:, None] * x[None] + v[:, None] * y[None])
    return jnp.exp(phase) @ flux.astype(jnp.complex128)


def radial_profile(image, radius, edges):
    """Mean of the pixels in rings; NaN in empty ones.

    Args:
        image: (P,) values.
        radius: (P,).
        edges: of the rings, rising.

    Raises:
        ConfigError: edges that do not rise.
    """
    image, radius = np.asarray(image), np.asarray(radius)
    if not (np.diff(edges) > 0).all():
        raise errors.ConfigError(f"edges of rings must rise, got {np.asarray(edges).tolist()}.")
    total = np.histogram(radius, edges, weights=image)[0]
    count = np.histogram(radius, edges)[0]
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
