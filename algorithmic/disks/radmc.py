"""Inputs of RADMC-3D for one line of a disk: an outside check of the ray tracer.

Spherical grid, axisymmetric, mirrored at the midplane; LTE lines from a LAMDA file. There is no
dust: a tracer beside it should have `kappa` 0. Formats as in RADMC-3D's manual, chapter "Main input
and output files".
"""

import pathlib
import shutil

import numpy as np

from algorithmic.disks import constants as c
from fl_jax.core import errors


def write(
    folder,
    *,
    r: np.ndarray,
    height: np.ndarray,
    temperature: np.ndarray,
    molecules: np.ndarray,
    name: str,
    lamda_file,
    mass_star: float,
    turbulence: float = 0.1,
    line: int = 1,
    half_width: float = 10.0,
    channels: int = 100,
    inclination: float = 30.0,
    position_angle: float = 0.0,
    size: float = 800.0,
    pixels: int = 100,
    parts: int = 4,
) -> str:
    """Writes every file and returns the command that makes the image.

    Our nodes stand at cylindrical radii and z/r, RADMC-3D's cells between spherical radii and
    angles: walls go through the nodes' radii and heights, and what a cell holds is interpolated
    onto its centre as the tracer does it. There are no molecules where our grid ends.

    Args:
        folder: where the files go.
        r: (I,) radii of the nodes, rising [au].
        height: (J,) z/r of the nodes, rising from 0.
        temperature: (I, J) of gas and dust [K].
        molecules: (I, J) number density [cm^-3].
        name: of the molecule, as its file is to be called.
        lamda_file: the molecule's LAMDA file, copied.
        mass_star: [M_sun].
        turbulence: of the lines [km/s].
        line: number of the line in the LAMDA file, from 1.
        half_width: of the channels [km/s].
        channels: how many.
        inclination: [degrees].
        position_angle: [degrees].
        size: of the image [au].
        pixels: on a side.
        parts: cells between two nodes, in either direction.

    Raises:
        ConfigError: shapes that do not fit.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    r, height = np.asarray(r, np.float64), np.asarray(height, np.float64)
    wanted = (len(r), len(height))
    for what, values in (("temperature", temperature), ("molecules", molecules)):
        if np.shape(values) != wanted:
            raise errors.ConfigError(
                f"{what} should be (radii, heights) = {wanted}, but {np.shape(values)} came."
            )
    fine = lambda nodes: np.interp(np.arange(parts * (len(nodes) - 1) + 1) / parts,
                                   np.arange(len(nodes)), nodes)  # fmt: skip
    walls_r, latitude = np.exp(fine(np.log(r))), fine(np.arctan(height))
    radius = np.sqrt(walls_r[1:] * walls_r[:-1])[:, None]  # of the centres, from the star
    angle = 0.5 * (latitude[1:] + latitude[:-1])[None]
    at = np.log(radius * np.cos(angle)), np.broadcast_to(np.tan(angle), (len(radius), angle.size))
    inside = (at[0] >= np.log(r[0])) & (at[0] <= np.log(r[-1]))
    between = lambda values: _bilinear(np.log(r), height, np.asarray(values, np.float64), *at)
    molecules = np.where(inside, np.exp(between(np.log(np.maximum(molecules, 1e-90)))), 0.0)
    theta = np.pi / 2 - latitude[::-1]  # rising to the midplane
    n_r, n_theta = inside.shape
    put = lambda file, text: (folder / file).write_text(text)
    axis = lambda walls: " ".join(f"{w:.12e}" for w in walls)
    put(
        "amr_grid.inp",
        f"1\n0\n100\n0\n1 1 0\n{n_r} {n_theta} 1\n{axis(walls_r * c.AU)}\n{axis(theta)}\n"
        f"{axis((0.0, 2 * np.pi))}\n",
    )
    # The radius runs fastest; theta from the pole, so from the highest cell.
    order = lambda values: values[:, ::-1].T.ravel()
    cells = n_r * n_theta
    scalar = lambda values: f"1\n{cells}\n" + "".join(f"{v:.8e}\n" for v in order(values))
    put("gas_temperature.inp", scalar(between(temperature)))
    put(f"numberdens_{name}.inp", scalar(molecules))
    put("microturbulence.inp", scalar(np.full(inside.shape, turbulence * c.KM)))
    # v^2 = G M r^2/(r^2 + z^2)^1.5 with the cylindrical r.
    speed = order(np.sqrt(c.G * mass_star * c.M_SUN / (radius * c.AU)) * np.cos(angle))
    put("gas_velocity.inp", f"1\n{cells}\n" + "".join(f"0 0 {v:.8e}\n" for v in speed))
    put("lines.inp", f"2\n1\n{name} leiden 0 0 0\n")
    put("radmc3d.inp", "lines_mode = 1\ntgas_eq_tdust = 0\nincl_dust = 0\n")
    put("wavelength_micron.inp", "3\n0.1\n100.0\n10000.0\n")
    shutil.copyfile(lamda_file, folder / f"molecule_{name}.inp")
    return (
        f"radmc3d image iline {line} widthkms {half_width:g} linenlam {channels} incl"
        f" {inclination:g} posang {position_angle:g} sizeau {size:g} npix {pixels}"
    )


def _bilinear(x, y, values, u, v):
    """`values` (X, Y) on the nodes x and y at the points (u, v), held beyond the ends."""

    def place(axis, at):
        low = np.clip(np.searchsorted(axis, at, side="right") - 1, 0, len(axis) - 2)
        return low, np.clip((at - axis[low]) / (axis[low + 1] - axis[low]), 0.0, 1.0)

    (i, p), (j, q) = place(x, u), place(y, v)
    rows = ((1 - q) * values[k, j] + q * values[k, j + 1] for k in (i, i + 1))
    return (1 - p) * next(rows) + p * next(rows)
