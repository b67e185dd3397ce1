"""Inputs of RADMC-3D for one line of a disk: an outside check of the ray tracer.

Spherical grid, axisymmetric, mirrored at the midplane; LTE lines from a LAMDA file. Formats as in
RADMC-3D's manual, chapter "Main input and output files".
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
) -> str:
    """Writes every file and returns the command that makes the image.

    The nodes of our grid become centres of RADMC-3D's cells; walls lie halfway in log r and in
    the angle above the midplane.

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
    middle = np.log(r)
    walls_r = np.exp(_walls(middle)) * c.AU
    above = np.arctan(height)  # latitude of the nodes
    latitude = np.concatenate([[0.0], _walls(above)[1:]])
    theta = np.pi / 2 - latitude[::-1]  # rising to the midplane
    n_r, n_theta = wanted
    put = lambda file, text: (folder / file).write_text(text)
    axis = lambda walls: " ".join(f"{w:.12e}" for w in walls)
    put(
        "amr_grid.inp",
        f"1\n0\n100\n0\n1 1 0\n{n_r} {n_theta} 1\n{axis(walls_r)}\n{axis(theta)}\n"
        f"{axis((0.0, 2 * np.pi))}\n",
    )
    # The radius runs fastest; theta from the pole, so from the highest node.
    order = lambda values: np.asarray(values, np.float64)[:, ::-1].T.ravel()
    cells = n_r * n_theta
    scalar = lambda values: f"1\n{cells}\n" + "".join(f"{v:.8e}\n" for v in order(values))
    put("gas_temperature.inp", scalar(temperature))
    put(f"numberdens_{name}.inp", scalar(molecules))
    put("microturbulence.inp", scalar(np.full(wanted, turbulence * c.KM)))
    # A node at z/r = h and cylindrical radius r: v^2 = G M r^2/(r^2 + z^2)^1.5.
    kepler = np.sqrt(
        c.G * mass_star * c.M_SUN / (r[:, None] * c.AU) / (1 + height[None] ** 2) ** 1.5
    )
    speed = order(kepler)
    put("gas_velocity.inp", f"1\n{cells}\n" + "".join(f"0 0 {v:.8e}\n" for v in speed))
    put("lines.inp", f"2\n1\n{name} leiden 0 0 0\n")
    put("radmc3d.inp", "lines_mode = 1\ntgas_eq_tdust = 0\nincl_dust = 0\n")
    put("wavelength_micron.inp", "3\n0.1\n100.0\n10000.0\n")
    shutil.copyfile(lamda_file, folder / f"molecule_{name}.inp")
    return (
        f"radmc3d image iline {line} widthkms {half_width:g} linenlam {channels} incl"
        f" {inclination:g} posang {position_angle:g} sizeau {size:g} npix {pixels}"
    )


def _walls(nodes: np.ndarray) -> np.ndarray:
    """(n + 1,) walls halfway between nodes, the outer ones as far out as the next ones in."""
    half = 0.5 * (nodes[1:] + nodes[:-1])
    first, last = 2 * nodes[0] - half[0], 2 * nodes[-1] - half[-1]
    return np.concatenate([[first], half, [last]])
