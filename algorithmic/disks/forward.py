"""From parameters of a disk to its line: structure, emulated chemistry, rays. Differentiable.

The perceptron gives smooth abundances, for gradients; exact nearest neighbours give those of the
paper's regressor, for samplers that need none.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from algorithmic.disks import constants as c
from algorithmic.disks import emulator, images, mlp, radiation, structure, tracer
from algorithmic.disks.broadcast import broadcasts
from algorithmic.disks.lamda import Molecule
from algorithmic.disks.lines import Line
from algorithmic.disks.table import UV_FLOOR
from algorithmic.disks.tracer import Physics, Sky, View

DUST_TO_GAS = 0.01


class Setup(NamedTuple):
    """What does not change while parameters do."""

    molecule: Molecule
    line: Line
    species: str  # of the emulator, whose abundance the molecule follows
    ratio: float  # isotope ratio, 1 for the main one
    disk: dict[str, float]  # parameters of `structure.Disk` that are kept
    light: dict[str, float]  # of `radiation.Light`
    view: View
    physics: Physics
    velocities: np.ndarray  # (V,) [km/s]
    r: np.ndarray  # (I,) of the grid [au]
    height: np.ndarray  # (J,) of the grid, from the top
    rays: tuple[int, int] = (12, 12)  # radii and angles of the spectrum
    samples: int = 16


@broadcasts
def cells(setup: Setup, values: dict[str, Any]):
    """(grid, features) of the disk with these parameters in place of the kept ones.

    features (I J, 4): log10 of density, temperature, uv and ionisation, in x64.
    """
    disk = structure.Disk(**{**setup.disk, **_part(values, structure.Disk)})
    light = radiation.Light(**{**setup.light, **_part(values, radiation.Light)})
    grid = radiation.grid_of(disk, light, setup.r, setup.height)
    av = jnp.stack([grid.av_star, grid.av_up], axis=-1)
    uv = jnp.sum(grid.chi * jnp.exp(-3.02 * av), axis=-1)
    floor = (1.0, 1.0, UV_FLOOR, 1e-30)
    columns = (grid.density, grid.temperature, uv, grid.zeta)
    logs = [jnp.log10(jnp.maximum(v, f)) for v, f in zip(columns, floor, strict=True)]
    return grid, jnp.stack([v.ravel() for v in logs], axis=-1)


def _part(values: dict[str, Any], of) -> dict[str, Any]:
    return {k: v for k, v in values.items() if k in of._fields}


@broadcasts
def medium(setup: Setup, grid, log_abundance) -> tracer.Medium:
    """The line's medium from log10 abundances (I J,)."""
    density = grid.density[:, ::-1]
    x = jnp.reshape(log_abundance, grid.density.shape)[:, ::-1]
    molecules = density * 10**x / setup.ratio
    dust = density * c.MU_H * c.M_H * DUST_TO_GAS
    return tracer.medium(
        jnp.log(jnp.asarray(setup.r)),
        jnp.asarray(setup.height[::-1].copy()),
        grid.temperature[:, ::-1],
        molecules,
        dust,
        setup.molecule,
        setup.line,
    )


@broadcasts
def view_of(setup: Setup, values: dict[str, Any]) -> tuple[View, Physics]:
    """Orientation and physics with these parameters in place of the kept ones."""
    physics = setup.physics._replace(**_part(values, Physics))
    return setup.view._replace(**_part(values, View)), physics


@broadcasts
def rays(setup: Setup, values: dict[str, Any], log_abundance=None, *, model: mlp.MLP | None = None):
    """(lines of sight, their continuum-subtracted line (P, V) [Jy], distance [pc]).

    Args:
        setup: what is kept.
        values: parameters by name of `Disk`, `Light`, `View` or `Physics`.
        log_abundance: (I J,) of the cells; else `model` gives it.
        model: the perceptron.
    """
    grid, features = cells(setup, values)
    if log_abundance is None:
        at = model.species.index(setup.species)
        log_abundance = model.apply(features)[:, at].astype(features.dtype)
    field = medium(setup, grid, log_abundance)
    view, physics = view_of(setup, values)
    sky = _sky(setup, view)
    traced, source, turned = _mirrored(setup, view)
    intensity = tracer.trace(
        field,
        setup.line,
        view,
        physics,
        sky.x[traced],
        sky.y[traced],
        jnp.asarray(setup.velocities),
        samples=setup.samples,
        rays=len(traced),
    )[source]
    intensity = jnp.where(turned[:, None], intensity[:, ::-1], intensity)
    flux = tracer.flux_density(intensity, sky, view.distance)
    return sky, images.continuum_subtracted(flux), view.distance


def spectrum(setup: Setup, values: dict[str, Any], log_abundance=None, *, model=None):
    """Continuum-subtracted line (V,) [Jy]; arguments as `rays`."""
    return jnp.sum(rays(setup, values, log_abundance, model=model)[1], axis=0)


def line_flux(setup: Setup, values: dict[str, Any], log_abundance=None, *, model=None):
    """The line's flux [Jy km/s]; arguments as `rays`."""
    flux = spectrum(setup, values, log_abundance, model=model)
    return images.line_flux(flux, jnp.asarray(setup.velocities))


@broadcasts
def visibilities(setup: Setup, values: dict[str, Any], u, v, log_abundance=None, *, model=None):
    """Of the continuum-subtracted line, (2, B, V): real and imaginary parts [Jy].

    Args:
        setup: what is kept.
        values: as `rays`.
        u: baselines eastwards [wavelengths], (B,).
        v: northwards.
        log_abundance: as `rays`.
        model: the perceptron.
    """
    sky, flux, distance = rays(setup, values, log_abundance, model=model)
    found = images.visibilities(flux, sky.x, sky.y, u, v, distance)
    return jnp.stack([found.real, found.imag])


def _sky(setup: Setup, view: View) -> Sky:
    """Rings in the disk's plane, traced with the inclination as it is."""
    radii, angles = setup.rays
    return tracer.polar_sky(radii, angles, setup.r[0], setup.r[-1], view)


def _mirrored(setup: Setup, view: View) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(rays to trace, for each ray which of these it equals, whether with velocities turned).

    On the other side of the minor axis the gas moves the other way: where channels lie evenly
    about the systemic velocity, half of the rays say what the others are.
    """
    radii, angles = setup.rays
    every = np.arange(radii * angles)
    ring, turn = np.divmod(every, angles)
    other = ring * angles + (angles // 2 - 1 - turn) % angles  # the angle pi - phi
    about = setup.velocities + setup.velocities[::-1]
    fixed = not isinstance(view.velocity, jax.core.Tracer)
    if angles % 2 or not fixed or np.abs(about - 2 * view.velocity).max() > 1e-9:
        return every, every, np.zeros(len(every), bool)
    least = np.minimum(every, other)
    traced, source = np.unique(least, return_inverse=True)
    return traced, source, least != every


def knn_abundances(model: emulator.Emulator, setup: Setup, features: np.ndarray) -> np.ndarray:
    """(rows,) log10 abundances of the line's species by the regressor, on the host."""
    return model.means(features, (setup.species,))[:, 0]


@broadcasts
def image(setup: Setup, values: dict[str, Any], log_abundance, *, pixels: int, half: float):
    """(cube (pixels, pixels, V) [Jy/pixel], sky): rows from south to north, east to the left."""
    grid, _ = cells(setup, values)
    view, physics = view_of(setup, values)
    sky = tracer.image_sky(pixels, half)

    @jax.jit
    def run(log_abundance):
        return tracer.trace(
            medium(setup, grid, log_abundance),
            setup.line,
            view,
            physics,
            jnp.asarray(sky.x),
            jnp.asarray(sky.y),
            jnp.asarray(setup.velocities),
            samples=setup.samples * 2,
        )

    cube = tracer.flux_density(run(log_abundance), sky, view.distance)
    return np.asarray(cube).reshape(pixels, pixels, -1), sky
