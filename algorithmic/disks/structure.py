"""The gas of a disk: surface density, two-layer temperature, hydrostatic density.

Williams & Best (2014) with the density normalised over both sides of the midplane. All functions
are pure and differentiable; lengths in au, the rest in cgs. They take parameters as they come,
traced ones too: `radiation.make_grid` refuses those that no disk has.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from algorithmic.disks import constants as c
from algorithmic.disks.broadcast import broadcasts


class Disk(NamedTuple):
    """One disk and its star; numbers or arrays that broadcast."""

    mass_star: float = 1.0  # [M_sun]
    mass_gas: float = 1e-3  # [M_sun]
    r_c: float = 100.0  # tapering radius [au]
    gamma: float = 0.75  # slope of the surface density
    q: float = 0.55  # slope of the temperature
    t_mid: float = 200.0  # of the midplane at 1 au [K]
    t_atm: float = 1000.0  # of the atmosphere at 1 au [K]
    r_in: float = 1.0  # inner edge [au]
    delta: float = 1e-6  # surface density inside r_in over that of the power law


@broadcasts
def surface_density(r: Float[Array, "*n"], disk: Disk) -> Float[Array, "*n"]:
    """Tapered power law [g/cm^2] whose integral beyond r_in is the disk's mass.

    Sigma = (2-g) M/(2 pi Rc^2) exp[(r_in/Rc)^(2-g)] (r/Rc)^-g exp[-(r/Rc)^(2-g)], times `delta`
    inside r_in. [Williams & Best 2014 eq. 1]
    """
    p = 2.0 - disk.gamma
    scale = p * disk.mass_gas * c.M_SUN / (2 * np.pi * (disk.r_c * c.AU) ** 2)
    edge = jnp.exp((disk.r_in / disk.r_c) ** p)
    x = r / disk.r_c
    body = scale * edge * x**-disk.gamma * jnp.exp(-(x**p))
    return body * jnp.where(r < disk.r_in, disk.delta, 1.0)


@broadcasts
def pressure_height(r, disk: Disk):
    """H_p = sqrt(R T_mid r^3/(G M mu)) [au]"""
    speed2 = c.R_GAS * disk.t_mid * r**-disk.q / c.MU  # (c_s^2 in cm^2/s^2)
    kepler2 = c.G * disk.mass_star * c.M_SUN / (r * c.AU)
    return r * jnp.sqrt(speed2 / kepler2)


@broadcasts
def temperature(r, z, disk: Disk):
    """T_mid + (T_atm - T_mid) sin^4(pi z / 2 z_q) below z_q = 4 H_p, T_atm above [K].

    [Dartois et al. 2003; Williams & Best 2014 eqs. 5-7]
    """
    t_mid, t_atm = disk.t_mid * r**-disk.q, disk.t_atm * r**-disk.q
    share = jnp.clip(jnp.abs(z) / (4 * pressure_height(r, disk)), 0.0, 1.0)
    return t_mid + (t_atm - t_mid) * jnp.sin(0.5 * np.pi * share) ** 4


@broadcasts
def passive_temperature(r, luminosity, *, flaring=0.05, mass_star=1.0, accretion=0.0, tau=0.0):
    """Midplane of a passively irradiated disk, with an optional accretion term [K].

    T^4 = (phi/2) L/(4 pi r^2 sigma) + 3 G M Mdot/(8 pi r^3 sigma) tau/2.

    Args:
        r: [au].
        luminosity: of the star [L_sun].
        flaring: phi, the grazing angle.
        mass_star: [M_sun].
        accretion: Mdot [M_sun/yr].
        tau: vertical optical depth.
    """
    cm = r * c.AU
    irradiated = 0.5 * flaring * luminosity * c.L_SUN / (4 * np.pi * cm**2 * c.SIGMA_SB)
    rate = accretion * c.M_SUN / c.YEAR
    gravity = 3 * c.G * mass_star * c.M_SUN * rate / (8 * np.pi * c.SIGMA_SB) / cm**3
    return (irradiated + gravity * tau / 2) ** 0.25


class Column(NamedTuple):
    """The vertical structure over one or many radii, from the midplane up."""

    z: Float[Array, "*n Z"]  # [au]
    temperature: Float[Array, "*n Z"]  # [K]
    density: Float[Array, "*n Z"]  # of mass [g/cm^3]
    above: Float[Array, "*n Z"]  # mass column above [g/cm^2]


@broadcasts
def hydrostatic(r: Float[Array, "*n"], disk: Disk, *, points: int = 401, top=1.0) -> Column:
    """Density in vertical balance, normalised so that both sides together hold Sigma.

    d ln rho/dz = -[G M z/(r^2+z^2)^1.5 mu/(R T) + d ln T/dz]

    Args:
        r: radii [au].
        disk: its parameters.
        points: of the trapezoid from z = 0 to `top` r.
        top: highest z/r.
    """
    z = r[..., None] * jnp.linspace(0.0, top, points, dtype=r.dtype)
    wide = r[..., None]
    t = temperature(wide, z, disk)
    gm = c.G * disk.mass_star * c.M_SUN / c.AU
    pull = gm * z / (wide**2 + z**2) ** 1.5 * c.MU / (c.R_GAS * t)  # [1/au]
    step = jnp.diff(z, axis=-1)
    fall = jnp.cumsum(0.5 * (pull[..., 1:] + pull[..., :-1]) * step, axis=-1)
    fall = jnp.concatenate([jnp.zeros_like(z[..., :1]), fall], axis=-1)
    shape = jnp.exp(-fall) * t[..., :1] / t  # rho over its midplane value
    slabs = 0.5 * (shape[..., 1:] + shape[..., :-1]) * step * c.AU
    above = jnp.flip(jnp.cumsum(jnp.flip(slabs, axis=-1), axis=-1), axis=-1)
    above = jnp.concatenate([above, jnp.zeros_like(z[..., :1])], axis=-1)
    scale = surface_density(r, disk)[..., None] / (2 * above[..., :1])
    return Column(z, t, scale * shape, scale * above)


def hydrogen(density):
    """Hydrogen nuclei [cm^-3] in gas of this mass density, helium included."""
    return density / (c.MU_H * c.M_H)


def particles(density):
    """Particles of molecular gas [cm^-3]: what the authors' fitting package calls the density."""
    return density / (c.MU * c.AMU)


class DustPopulation(NamedTuple):
    """Small grains follow the gas; large ones have settled and do not count for A_V."""

    gas_to_dust: float = 100.0  # mass ratio of all dust
    large: float = 0.85  # mass share of the large grains
    settling: float = 0.2  # scale height of the large grains over that of the gas


@broadcasts
def dust_density(column: Column, r, disk: Disk, dust: DustPopulation):
    """(small, large) mass densities of dust [g/cm^3] on the points of `column`.

    The large grains stand in a Gaussian layer of height `settling` H_p with the same surface
    density ratio.
    """
    small = column.density * (1 - dust.large) / dust.gas_to_dust
    height = dust.settling * pressure_height(r, disk)[..., None]
    sigma = surface_density(r, disk)[..., None] * dust.large / dust.gas_to_dust
    layer = jnp.exp(-0.5 * (column.z / height) ** 2) / (np.sqrt(2 * np.pi) * height * c.AU)
    return small, sigma * layer
