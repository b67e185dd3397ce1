"""What ionises a disk: X-rays, cosmic rays, radionuclides. Rates per second."""

import jax.numpy as jnp
import numpy as np

from algorithmic.disks import constants as c
from algorithmic.disks.broadcast import broadcasts
from fl_jax.core import errors

# X-ray ionisation per unit flux [1/s per erg cm^-2 s^-1; Bruderer et al. 2009 table 3].
_X_COLUMN = np.arange(20.0, 26.0)  # log10 N_H [cm^-2]
_X_TEMPERATURE = np.log10([3e6, 1e7, 3e7, 1e8, 3e8])  # of the plasma [K]
_X_RATE = np.log10(
    [
        [4.8e-11, 2.4e-11, 1.0e-11, 3.4e-12, 1.2e-12],
        [4.2e-12, 4.5e-12, 2.5e-12, 9.8e-13, 3.7e-13],
        [6.9e-14, 3.7e-13, 4.0e-13, 2.2e-13, 1.0e-13],
        [6.9e-17, 9.6e-15, 3.9e-14, 4.5e-14, 3.3e-14],
        [6.8e-22, 4.5e-17, 2.0e-15, 9.4e-15, 1.4e-14],
        [1.8e-30, 8.6e-22, 1.7e-17, 1.4e-15, 6.4e-15],
    ]
)
# Cosmic rays: log10 zeta = sum c_k (log10 N)^k [Padovani et al. 2018 appendix F].
_PADOVANI = {
    "L": [
        -3.331056497233e6, 1.207744586503e6, -1.913914106234e5, 1.731822350618e4,
        -9.790557206178e2, 3.543830893824e1, -8.034869454520e-1, 1.048808593086e-2,
        -6.188760100997e-5, 3.122820990797e-8,
    ],
    "H": [
        1.001098610761e7, -4.231294690194e6, 7.921914432011e5, -8.623677095423e4,
        6.015889127529e3, -2.789238383353e2, 8.595814402406, -1.698029737474e-1,
        1.951179287567e-3, -9.937499546711e-6,
    ],
}  # fmt: skip


@broadcasts
def x_rays(log_column, log_temperature, flux):
    """Ionisation by X-rays of `flux` [erg cm^-2 s^-1] behind a column [Bruderer et al. 2009].

    Bilinear in the logarithms; held below 1e20 cm^-2, extrapolated along the column above 1e25.

    Args:
        log_column: log10 N_H [cm^-2].
        log_temperature: log10 of the plasma temperature [K], clipped to the table.
        flux: unattenuated.
    """
    x = jnp.maximum(log_column, _X_COLUMN[0]) - _X_COLUMN[0]
    row = jnp.clip(jnp.floor(x), 0, len(_X_COLUMN) - 2).astype(jnp.int32)
    t = jnp.clip(log_temperature, _X_TEMPERATURE[0], _X_TEMPERATURE[-1])
    last = len(_X_TEMPERATURE) - 2
    column = jnp.clip(jnp.searchsorted(_X_TEMPERATURE, t, side="right") - 1, 0, last)
    table, axis = jnp.asarray(_X_RATE), jnp.asarray(_X_TEMPERATURE)
    u = x - row
    v = (t - axis[column]) / (axis[column + 1] - axis[column])
    low = (1 - v) * table[row, column] + v * table[row, column + 1]
    high = (1 - v) * table[row + 1, column] + v * table[row + 1, column + 1]
    return flux * 10 ** ((1 - u) * low + u * high)


@broadcasts
def x_ray_flux(luminosity, distance):
    """L_X/(4 pi R^2) [erg cm^-2 s^-1] at `distance` [au]"""
    return luminosity / (4 * np.pi * c.AU**2) / distance**2


def cosmic_rays(log_column, model: str = "L", *, floor=1.4e-22):
    """Padovani et al. (2018) for the low (L) or high (H) spectrum, above a floor of radionuclides.

    The polynomial cancels terms of 1e7: it is evaluated in float64 by NumPy, and cannot be
    traced. The column is clipped to 1e19..1e27 cm^-2.

    Args:
        log_column: log10 N_H [cm^-2].
        model: "L" or "H".
        floor: [1/s].
    """
    errors.one_of("cosmic-ray model", model, _PADOVANI)
    x = np.clip(np.asarray(log_column, np.float64), 19.0, 27.0)
    return 10 ** np.polynomial.polynomial.polyval(x, _PADOVANI[model]) + floor


@broadcasts
def cosmic_rays_exponential(above, below, zeta0, *, floor=1e-20):
    """Half of zeta0 from each side, falling by e every 96 g/cm^2 [Umebayashi & Nakano 1981].

    Args:
        above: mass column above [g/cm^2].
        below: the same below.
        zeta0: of unshielded gas [1/s].
        floor: radionuclides [1/s].
    """
    return 0.5 * zeta0 * (jnp.exp(-above / 96.0) + jnp.exp(-below / 96.0)) + floor
