"""Level populations, absorption and emission of spectral lines; dust continuum.

LTE by the Boltzmann distribution over all levels of the file; non-LTE by statistical equilibrium
with escape probabilities. Everything is pure, differentiable and in cgs.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from algorithmic.disks import constants as c
from algorithmic.disks.broadcast import broadcasts
from algorithmic.disks.lamda import Molecule
from fl_jax.core import errors


class Line(NamedTuple):
    """One line, as numbers."""

    frequency: float  # [Hz]
    einstein: float  # A [1/s]
    upper: int
    lower: int
    weight_upper: float
    weight_lower: float
    mass: float  # of the molecule [amu]


def line_of(molecule: Molecule, label: str) -> Line:
    """The line "2-1" of a molecule."""
    m = molecule.line(label)
    u, w = int(molecule.upper[m]), int(molecule.lower[m])
    weights = float(molecule.weight[u]), float(molecule.weight[w])
    numbers = float(molecule.frequency[m]), float(molecule.einstein[m])
    return Line(*numbers, u, w, *weights, molecule.mass)


@broadcasts
def partition(molecule: Molecule, temperature) -> Float[Array, "*n"]:
    """Z(T) over the levels of the file, which is too small where kT reaches the highest."""
    exponents = -molecule.energy / jnp.asarray(temperature)[..., None]
    return jnp.sum(molecule.weight * jnp.exp(exponents), axis=-1)


@broadcasts
def populations(molecule: Molecule, temperature) -> Float[Array, "*n L"]:
    """x_i = g_i exp(-E_i/kT)/Z"""
    exponents = -molecule.energy / jnp.asarray(temperature)[..., None]
    boltzmann = molecule.weight * jnp.exp(exponents)
    return boltzmann / jnp.sum(boltzmann, axis=-1, keepdims=True)


@broadcasts
def planck(frequency, temperature):
    """B_nu(T) [erg s^-1 cm^-2 Hz^-1 sr^-1]"""
    x = c.H * frequency / (c.K * temperature)
    return 2 * c.H * frequency**3 / c.C**2 / jnp.expm1(x)


@broadcasts
def brightness(frequency, temperature):
    """J_nu(T) = (h nu/k)/(exp(h nu/kT) - 1), the Rayleigh-Jeans temperature of B_nu [K]"""
    t0 = c.H * frequency / c.K
    return t0 / jnp.expm1(t0 / temperature)


@broadcasts
def doppler(temperature, mass, turbulence=0.0):
    """b = sqrt(2kT/m + v_turb^2) [cm/s]"""
    return jnp.sqrt(2 * c.K * temperature / (mass * c.AMU) + turbulence**2)


@broadcasts
def opacity(line: Line, upper, lower):
    """Absorption integrated over velocity: alpha(v) = opacity phi(v) [cm^-1 (cm/s)].

    c^3 A/(8 pi nu^3) (n_l g_u/g_l - n_u), with level densities in cm^-3; in LTE the bracket is
    n_u (exp(h nu/kT) - 1).
    """
    scale = c.C**3 * line.einstein / (8 * np.pi * line.frequency**3)
    return scale * (lower * (line.weight_upper / line.weight_lower) - upper)


@broadcasts
def source(line: Line, upper, lower):
    """(2 h nu^3/c^2)/(n_l g_u/(n_u g_l) - 1); B_nu in LTE."""
    ratio = lower * line.weight_upper / (jnp.maximum(upper, 1e-100) * line.weight_lower)
    return 2 * c.H * line.frequency**3 / c.C**2 / (ratio - 1)


@broadcasts
def optical_depth(line: Line, column, upper_share, temperature, turbulence=0.0):
    """tau at line centre of an LTE column [cm^-2]."""
    b = doppler(temperature, line.mass, turbulence)
    boost = jnp.expm1(c.H * line.frequency / (c.K * temperature))
    scale = c.C**3 * line.einstein / (8 * np.pi * line.frequency**3)
    return scale * column * upper_share * boost / (b * np.sqrt(np.pi))


@broadcasts
def dust_absorption(frequency, dust_density, *, kappa=2.3, beta=1.0):
    """kappa rho_d [1/cm], kappa 2.3 cm^2/g of dust at 230 GHz [Beckwith et al. 1990]."""
    return kappa * (frequency / 230e9) ** beta * dust_density


def flux_in_watts(flux, frequency):
    """Jy km/s to W/m^2."""
    return flux * 1e-26 * frequency * 1e3 / (c.C * 1e-2)


def flux_in_jansky(flux, frequency):
    """W/m^2 to Jy km/s."""
    return flux / (1e-26 * frequency * 1e3 / (c.C * 1e-2))


@broadcasts
def escape(tau):
    """beta = (1 - exp(-tau))/tau; 1 - tau/2 where tau is small, masers included."""
    small = jnp.abs(tau) < 1e-4
    safe = jnp.where(small, 1.0, tau)
    return jnp.where(small, 1 - tau / 2, -jnp.expm1(-safe) / safe)


@broadcasts
def collisions(
    molecule: Molecule, temperature, densities: dict[str, Array], levels: int
) -> Float[Array, "L L"]:
    """C_ij [1/s] from level i to j by all partners, detailed balance upwards.

    Args:
        molecule: its `levels` lowest are used.
        temperature: of the gas [K]; rates are held at the ends of their tables.
        densities: by partner [cm^-3]; "H2" serves p-H2 and o-H2 at a ratio of 1 to 3 where the
            file splits them.
    """
    total = jnp.zeros((levels, levels))
    names = [p.name for p in molecule.partners]
    used = 0
    for partner in molecule.partners:
        density = densities.get(partner.name)
        if density is None and "H2" in densities and "H2" not in names:
            share = {"p-H2": 0.25, "o-H2": 0.75}.get(partner.name)
            if share is not None and not {"p-H2", "o-H2"} <= set(names):
                share = 1.0  # the file has only one of them
            density = None if share is None else share * densities["H2"]
        if density is None:
            continue
        used += 1
        keep = (partner.upper < levels) & (partner.lower < levels)
        u, w = partner.upper[keep], partner.lower[keep]
        t = jnp.clip(temperature, partner.temperature[0], partner.temperature[-1])
        rate = jax.vmap(lambda row, t=t, p=partner: jnp.interp(t, p.temperature, row))(
            jnp.asarray(partner.rate[keep])
        )
        back = molecule.weight[u] / molecule.weight[w]
        gap = (molecule.energy[u] - molecule.energy[w]) / temperature
        total = total.at[u, w].add(density * rate)
        total = total.at[w, u].add(density * rate * back * jnp.exp(-gap))
    if not used:
        raise errors.ConfigError(
            f"{molecule.name} collides with {', '.join(names)}, but densities of"
            f" {', '.join(densities)} came; give one of the former."
        )
    return total


@broadcasts
def statistical_equilibrium(
    molecule: Molecule,
    temperature,
    densities: dict[str, Array],
    column,
    width,
    *,
    levels: int | None = None,
    iterations: int = 60,
    damping: float = 0.5,
    background: float = c.T_CMB,
) -> Float[Array, " L"]:
    """Populations (sum 1) of one cell with escape probabilities.

    dn_i/dt = 0 = sum_j n_j R_ji - n_i sum_j R_ij, with A beta + B J for each line, where
    J = (1 - beta) S + beta B(T_bg) and beta = escape(tau), tau from the column on the way out.

    Args:
        molecule: levels, lines, collisions.
        temperature: of the gas [K].
        densities: of the partners [cm^-3].
        column: of the molecule on the way out [cm^-2].
        width: b of the line [cm/s].
        levels: the lowest so many; all unless given.
        iterations: of the damped fixed point, from LTE.
        damping: share of the new populations.
        background: [K].
    """
    levels = levels or len(molecule.energy)
    keep = (molecule.upper < levels) & (molecule.lower < levels)
    u, w = molecule.upper[keep], molecule.lower[keep]
    a, nu = molecule.einstein[keep], molecule.frequency[keep]
    ratio = molecule.weight[u] / molecule.weight[w]
    hit = collisions(molecule, temperature, densities, levels)
    photons = 1 / jnp.expm1(c.H * nu / (c.K * background))  # occupation of the background
    lte = populations(molecule._replace(energy=molecule.energy[:levels],
                                        weight=molecule.weight[:levels]),
                      jnp.asarray(temperature))  # fmt: skip

    def update(_, x):
        scale = c.C**3 * a / (8 * np.pi * nu**3) / (width * np.sqrt(np.pi))
        beta = escape(scale * column * (x[w] * ratio - x[u]))
        down = a * beta * (1 + photons)
        up = a * beta * photons * ratio
        rates = hit.at[u, w].add(down).at[w, u].add(up)
        matrix = rates.T - jnp.diag(rates.sum(axis=1))
        # The rows depend on each other: one gives way to sum x = 1. Scaled to be solved well.
        matrix = matrix / jnp.maximum(jnp.abs(jnp.diag(matrix)), 1e-300)[:, None]
        matrix = matrix.at[0].set(1.0)
        new = jnp.linalg.solve(matrix, jnp.zeros(levels).at[0].set(1.0))
        return (1 - damping) * x + damping * jnp.maximum(new, 0.0)

    return jax.lax.fori_loop(0, iterations, update, lte)
