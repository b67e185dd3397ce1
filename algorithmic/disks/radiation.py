"""From a disk's structure to what its cells feel: columns, extinction, ultraviolet, ionisation.

The grid is (r, z/r): a ray from the star keeps its z/r, so that columns towards the star are
running sums along r. A cell needs the molecules between itself and the light, so cells are
solved in wavefronts from the upper inner corner: the cell (i, j) after (i - 1, j) and (i, j - 1),
where j counts layers from the top.
"""

import pathlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from algorithmic.disks import constants as c
from algorithmic.disks import ionisation, rates, shielding, structure
from algorithmic.disks.broadcast import broadcasts
from algorithmic.disks.rates import Conditions
from algorithmic.disks.structure import Disk
from fl_jax.core import errors

A_V = 5.34e-22  # extinction per hydrogen nucleus of interstellar dust [mag cm^2]
DRAINE_PER_ANDES = 0.5604  # chi over G_UV in the unit of the published tables
SHIELDED = ("H2", "CO", "N2", "C")


class Light(NamedTuple):
    """What shines on a disk and what dims it.

    Of either ultraviolet field a cell is given half: the disk lies behind it.
    """

    chi_star: float = 1e3  # of the star at 100 au, unattenuated [Draine fields]
    chi_ism: float = 1.0  # interstellar [Draine fields]
    l_x: float = 1e30  # X-rays [erg/s]
    t_x: float = 1e7  # of the X-ray plasma [K]
    zeta0: float = c.ZETA0  # cosmic rays outside the disk [1/s]
    gas_to_small: float = 100.0  # gas over small grains, by mass: scales A_V and surface


class Grid(NamedTuple):
    """A disk on I radii and J layers from the top (j = 0) to the midplane."""

    r: np.ndarray  # (I,) [au]
    height: np.ndarray  # (J,) z/r
    density: np.ndarray  # (I, J) hydrogen nuclei [cm^-3]
    temperature: np.ndarray  # (I, J) [K]
    up: np.ndarray  # (I, J) column above [cm^-2]
    star: np.ndarray  # (I, J) column to the star [cm^-2]
    av_up: np.ndarray  # (I, J) [mag]
    av_star: np.ndarray  # (I, J) [mag]
    zeta: np.ndarray  # (I, J) cosmic rays and X-rays [1/s]
    zeta_cr: np.ndarray  # (I, J) cosmic rays alone [1/s]
    chi: np.ndarray  # (I, J, 2) before absorption: star, interstellar
    grains: float  # cross section per nucleus [cm^2]


class Tables(NamedTuple):
    """Shielding of CO and N2; None is the coarse CO table and no N2 shielding."""

    co: shielding.Table
    n2: shielding.Table | None

    @classmethod
    def load(cls, folder=None) -> "Tables":
        """The published tables from a folder, or what needs none."""
        if folder is None:
            return cls(shielding.coarse_co(), None)
        folder = pathlib.Path(folder)
        return cls(
            shielding.read_table(folder / "co_shielding.csv"),
            shielding.read_table(folder / "n2_shielding.csv"),
        )


def heights(layers: int, top: float = 0.6) -> np.ndarray:
    """z/r from `top` to 0, closer near the midplane (power 1.5).

    Raises:
        ConfigError: fewer than two layers.
    """
    if layers < 2:
        raise errors.ConfigError(f"a disk needs the midplane and a top, got {layers} layers.")
    return top * (np.arange(layers)[::-1] / (layers - 1)) ** 1.5


def make_grid(disk: Disk, light: Light, r: np.ndarray, height: np.ndarray) -> Grid:
    """Structure, extinction and ionisation on the grid, in float64.

    Args:
        disk: its parameters, numbers.
        light: what shines on it.
        r: (I,) radii, rising [au].
        height: (J,) z/r, falling from at most 1 to 0, see `heights`.

    Raises:
        ConfigError: radii or heights of another order, a disk of endless mass (gamma 2 or more), or
            a parameter that is not finite or has the wrong sign.
    """
    r, height = np.asarray(r, np.float64), np.asarray(height, np.float64)
    if r.ndim != 1 or not (np.diff(r, prepend=0.0) > 0).all():
        raise errors.ConfigError(f"radii must rise from above 0, got {r.tolist()}; sort them.")
    if height.ndim != 1 or not ((np.diff(height, prepend=2.0) < 0).all() and height[-1] == 0):
        raise errors.ConfigError(f"heights z/r must fall to 0, got {height.tolist()}; turn them.")
    if height[0] > 1:
        raise errors.ConfigError(
            f"the highest z/r must be at most 1, got {height[0]:g}: the structure ends there."
        )
    if not disk.gamma < 2:
        raise errors.ConfigError(
            f"gamma must be below 2, got {disk.gamma}: the inner disk would hold all of its mass."
        )
    for name, value in {**disk._asdict(), **light._asdict()}.items():
        may_be_none = name in ("r_in", "delta", "chi_star", "chi_ism", "l_x", "zeta0")
        fine = name in ("gamma", "q") or value > 0 or (may_be_none and value == 0)
        if not (np.isfinite(value) and fine):
            least = (
                "" if name in ("gamma", "q") else " and 0 or more" if may_be_none else " and > 0"
            )
            raise errors.ConfigError(f"{name} must be finite{least}, got {value}; correct it.")
    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, grid_of(disk, light, r, height))


@jax.jit
@broadcasts
def grid_of(disk: Disk, light: Light, r, height) -> Grid:
    """`make_grid` as a pure function, differentiable in disk and light; for x64."""
    fine = structure.hydrostatic(jnp.asarray(r), disk, points=801)
    axis = jnp.linspace(0.0, 1.0, 801)
    at = lambda values: jax.vmap(lambda row: jnp.interp(height, axis, row))(values)
    log = lambda values: jnp.log(jnp.maximum(values, 1e-200))
    density = structure.hydrogen(jnp.exp(at(log(fine.density))))
    per_gram = 1 / (c.MU_H * c.M_H)
    up = jnp.exp(at(log(fine.above))) * per_gram
    path = jnp.sqrt(1 + height**2)[None, :]
    steps = 0.5 * (density[1:] + density[:-1]) * jnp.diff(r)[:, None] * c.AU * path
    star = jnp.concatenate([jnp.zeros_like(density[:1]), jnp.cumsum(steps, axis=0)])
    small = 100.0 / light.gas_to_small
    distance = r[:, None] * path
    x_ray = ionisation.x_rays(
        jnp.log10(jnp.maximum(star, 1.0)),
        jnp.log10(light.t_x),
        ionisation.x_ray_flux(light.l_x, distance),
    )
    total = 2 * fine.above[:, :1]
    above = up / per_gram
    cosmic = ionisation.cosmic_rays_exponential(above, total - above, light.zeta0)
    stellar = 0.5 * light.chi_star * (distance / 100.0) ** -2
    chi = jnp.stack([stellar, jnp.full_like(stellar, 0.5 * light.chi_ism)], axis=-1)
    return Grid(
        r,
        height,
        density,
        at(fine.temperature),
        up,
        star,
        up * A_V * small,
        star * A_V * small,
        cosmic + x_ray,
        cosmic,
        chi,
        rates.sigma_grains() * small,
    )


def conditions(grid: Grid, i, j, columns_up, columns_star, tables: Tables) -> Conditions:
    """What the cells (i, j) feel, given the molecules in the light's way.

    Args:
        grid: the disk.
        i: radii (n,).
        j: layers (n,).
        columns_up: by molecule of `SHIELDED`, (n,) [cm^-2].
        columns_star: the same towards the star.
        tables: shielding of CO and N2.
    """
    t = grid.temperature[i, j]
    two = lambda star, up: np.stack([star, up], axis=-1)
    column = {k: two(columns_star[k], columns_up[k]) for k in SHIELDED}
    with jax.enable_x64(True):
        co, n2, h2, carbon = (
            np.asarray(a)[: len(t)]
            for a in _shields(
                *(_pad(a) for a in (np.stack([t, t], axis=-1), *(column[k] for k in SHIELDED))),
                tables=tables,
            )
        )
    return Conditions(
        grid.density[i, j],
        t,
        t,
        grid.zeta[i, j],
        grid.zeta_cr[i, j],
        grid.chi[i, j],
        two(grid.av_star[i, j], grid.av_up[i, j]),
        h2,
        co,
        n2,
        carbon,
        np.full(len(t), grid.grains),
    )


def _pad(values):
    """At least 64 rows, so that wavefronts of any length share a program."""
    rows = max(64, 1 << (len(values) - 1).bit_length())
    return np.concatenate([values, np.ones((rows - len(values), 2))])


@jax.jit
@broadcasts
def _shields(t, h2, co, n2, carbon, *, tables: Tables):
    other = jnp.ones_like(t)
    return (
        shielding.theta(tables.co, t, h2, co),
        other if tables.n2 is None else shielding.theta(tables.n2, t, h2, n2),
        shielding.h2(h2),
        shielding.carbon(carbon, h2, t),
    )


def field(grid: Grid) -> np.ndarray:
    """Dust-attenuated ultraviolet chi (I, J) [Draine fields]: sum chi exp(-3.02 A_V)."""
    av = np.stack([grid.av_star, grid.av_up], axis=-1)
    return (grid.chi * np.exp(-3.02 * av)).sum(axis=-1)
