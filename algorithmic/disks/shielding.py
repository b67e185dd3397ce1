"""Self-shielding of H2, CO, N2 and C against the ultraviolet that dissociates them."""

import functools
import pathlib
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from algorithmic.disks.broadcast import broadcasts
from fl_jax.core import errors

# CO at T_ex 50 K from Visser et al. (2009): log10 Theta, rows log N_H2, columns log N_CO. Read
# where the full table is not at hand.
_CO_H2 = np.array([15.0, 19.0, 20.0, 21.0, 22.0])
_CO_CO = np.array([10.0, 13.0, 14.0, 15.0, 16.0, 17.0, 18.0, 19.0])
_COARSE = [
    [-0.063, -0.073, -0.137, -0.359, -0.978, -1.848, -2.562, -3.342],
    [-0.188, -0.201, -0.283, -0.555, -1.233, -2.070, -2.743, -3.484],
    [-0.282, -0.297, -0.393, -0.713, -1.483, -2.318, -2.918, -3.626],
    [-0.622, -0.639, -0.761, -1.170, -2.088, -2.963, -3.445, -4.082],
    [-2.829, -2.843, -2.940, -3.343, -4.189, -4.960, -5.251, -5.430],
]


class Table(NamedTuple):
    """log10 Theta over (T_ex, N_H2, N_X); every axis as log10."""

    temperature: Float[np.ndarray, " T"]
    h2: Float[np.ndarray, " M"]
    own: Float[np.ndarray, " K"]
    log_theta: Float[np.ndarray, "T M K"]


def read_table(path) -> Table:
    """A table of shielding factors as CSV: three lines of axes, then the values in C order.

    Raises:
        DataError: the file is missing or is no text, an axis does not rise from above 0, or the
            values do not fill the axes.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise errors.DataError(f"there is no shielding table {path}; give the path of one.")
    axes, values = [], []
    for line, text in enumerate(path.read_text(errors="replace").splitlines(), 1):
        if not text.strip() or text.startswith("#"):
            continue
        fields = text.split(",")
        try:
            if len(axes) < 3:
                axes.append(np.array([float(f) for f in fields[1:]]))
            else:
                values += [float(f) for f in fields[fields[0].startswith("theta") :] if f.strip()]
        except ValueError as error:
            raise errors.DataError(f"{path.name} line {line}: {error}.") from error
    shape = tuple(map(len, axes))
    if len(axes) < 3 or len(values) != np.prod(shape):
        raise errors.DataError(
            f"{path.name} should hold {np.prod(shape)} values for axes of {shape}, but"
            f" {len(values)} came; put the published file in its place."
        )
    values = np.array(values).reshape(shape)
    rising = all(
        len(a) and np.isfinite(a).all() and (np.diff(a, prepend=0) > 0).all() for a in axes
    )
    if not (rising and (values >= 0).all() and np.isfinite(values).all()):
        raise errors.DataError(
            f"{path.name} should have axes that rise from above 0 and factors of 0 and more; put"
            " the published file in its place."
        )
    theta = np.maximum(values, 1e-300)
    return Table(*(np.log10(a) for a in axes), np.log10(theta))


@functools.cache
def coarse_co() -> Table:
    """A small CO table at 50 K for runs without the data folder; coarse between its points."""
    rows = np.array(_COARSE)
    return Table(np.array([np.log10(50.0)]), _CO_H2, _CO_CO, rows[None])


@broadcasts
def theta(table: Table, temperature, n_h2, n_own):
    """Shielding factor, trilinear in the logarithms, arguments clamped to the table.

    Args:
        table: of the molecule.
        temperature: excitation temperature [K].
        n_h2: column of H2 [cm^-2].
        n_own: column of the molecule [cm^-2].
    """

    def place(axis, value):
        x = jnp.clip(jnp.log10(jnp.maximum(value, 1.0)), axis[0], axis[-1])
        if len(axis) == 1:
            return jnp.zeros(jnp.shape(x), jnp.int32), jnp.zeros_like(x), 0
        low = jnp.clip(jnp.searchsorted(axis, x, side="right") - 1, 0, len(axis) - 2)
        at = jnp.asarray(axis)
        return low, (x - at[low]) / (at[low + 1] - at[low]), 1

    (i, u, di), (j, v, dj), (k, w, dk) = (
        place(table.temperature, temperature),
        place(table.h2, n_h2),
        place(table.own, n_own),
    )
    values = jnp.asarray(table.log_theta)
    total = 0.0
    for a, wa in ((0, 1 - u), (di, u)):
        for b, wb in ((0, 1 - v), (dj, v)):
            for e, we in ((0, 1 - w), (dk, w)):
                total = total + wa * wb * we * values[i + a, j + b, k + e]
    return 10.0**total


@broadcasts
def h2(column, *, width=1e5):
    """Draine & Bertoldi (1996) eq. 37 for a column of H2 [cm^-2] and a line width b [cm/s]."""
    x = column / 5e14
    root = jnp.sqrt(1 + x)
    return 0.965 / (1 + x / (width / 1e5)) ** 2 + 0.035 / root * jnp.exp(-8.5e-4 * root)


@broadcasts
def carbon(n_c, n_h2, temperature):
    """exp(-1.1e-17 N_C) and the lines of H2, exp(-0.9 T^0.27 (N_H2/1.59e21)^0.45).

    [Kamp & Bertoldi 2000, as in UCLCHEM]
    """
    lines = 0.9 * temperature**0.27 * (n_h2 / 1.59e21) ** 0.45
    return jnp.exp(-jnp.minimum(1.1e-17 * n_c + lines, 700.0))
