"""Which disks a population draws: the parameters, their ranges, and what follows from them."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from algorithmic.disks import constants as c
from algorithmic.disks.radiation import Light
from fl_jax.core import errors

GRAZING = 0.05  # grazing angle at which starlight enters a disk
SUPERHEATED = 4.0  # atmosphere over midplane temperature: small grains absorb better than they emit
C_TO_O = 0.44  # C+ 1.4e-4 and O 3.2e-4, the low metals of the ALCHEMIC family in ratio


class Family(NamedTuple):
    """What is drawn, and the whole set of parameters that one draw makes."""

    ranges: dict[str, tuple[float, float, bool]]  # (low, high, logarithmic)
    complete: Callable[[dict[str, float]], dict[str, float]]


def _published(drawn: dict[str, float]) -> dict[str, float]:
    """One star and its disk in place of a stellar track and radiative transfer.

    L = 2.3 (M/M_sun)^1.5 L_sun, about an isochrone of 1 Myr; a midplane that reprocesses what
    enters at a grazing angle, T^4 = (phi/2) L/(4 pi r^2 sigma) [Dullemond et al. 2018; from
    memory].
    """
    luminosity = 2.3 * drawn["mass_star"] ** 1.5 * c.L_SUN
    flux = GRAZING / 2 * luminosity / (4 * np.pi * c.AU**2)
    t_mid = float((flux / c.SIGMA_SB) ** 0.25)
    light = Light()
    return {
        "mass_star": drawn["mass_star"],
        "mass_gas": drawn["gas_to_star"] * drawn["mass_star"],
        "r_c": drawn["r_c"],
        "gamma": 1.0,
        "q": 0.5,
        "t_mid": t_mid,
        "t_atm": SUPERHEATED * t_mid,
        "chi_star": light.chi_star,
        "l_x": light.l_x,
        "zeta0": light.zeta0,
        "gas_to_small": light.gas_to_small,
        "c_to_o": C_TO_O,
    }


FAMILIES = {
    # Ours: everything that disks are thought to differ in, over decades.
    "wide": Family(
        {
            "mass_star": (0.3, 2.0, True),  # [M_sun]
            "mass_gas": (1e-5, 1e-1, True),  # [M_sun]
            "r_c": (20.0, 300.0, True),  # [au]
            "gamma": (0.2, 1.5, False),
            "q": (0.4, 0.7, False),
            "t_mid": (100.0, 300.0, True),  # at 1 au [K]
            "t_atm": (300.0, 1500.0, True),  # at 1 au [K]
            "chi_star": (1e1, 1e5, True),  # at 100 au [Draine]
            "l_x": (1e29, 10**31.5, True),  # [erg/s]
            "zeta0": (1e-19, 1e-16, True),  # [1/s]
            "gas_to_small": (1e2, 1e4, True),
            "c_to_o": (0.4, 1.2, False),
        },
        dict,
    ),
    # The kind that the paper's 540 disks are: a star, the gas it has and how far that reaches.
    "published": Family(  # [ranges from memory]
        {
            "mass_star": (0.3, 2.5, True),  # [M_sun]
            "gas_to_star": (1e-3, 1e-1, True),  # by mass
            "r_c": (20.0, 100.0, True),  # [au]
        },
        _published,
    ),
}


def named(family: str) -> Family:
    """The family of that name.

    Raises:
        ConfigError: there is none.
    """
    return FAMILIES[errors.one_of("family", family, FAMILIES)]


def draw(family: str, disks: int, seed: int) -> list[dict[str, float]]:
    """Parameters of each disk: a scrambled Sobol sequence over the ranges of a family.

    The first k disks are the same whatever the number of disks.
    """
    from scipy.stats import qmc

    ranges, complete = named(family)
    sobol = qmc.Sobol(len(ranges), scramble=True, rng=seed)
    unit = sobol.random_base2(max(1, (disks - 1).bit_length()))[:disks]
    return [complete(_scale(row, ranges)) for row in unit]


def _scale(unit: np.ndarray, ranges: dict[str, tuple[float, float, bool]]) -> dict[str, float]:
    """What is drawn at a point of the unit cube."""
    out = {}
    for u, (name, (low, high, logarithmic)) in zip(unit, ranges.items(), strict=True):
        value = low * (high / low) ** u if logarithmic else low + (high - low) * u
        out[name] = float(value)
    return out
