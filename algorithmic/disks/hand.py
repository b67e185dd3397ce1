"""A hand-typed network of CO and H2, for runs without the data folder.

Coefficients of RATE22 [Millar et al. 2024, A&A 682, A109]; H2 forms on grains and dissociates in
the ultraviolet [Draine & Bertoldi 1996]. The skeleton of CO: C+ to CH2+ to HCO+ to CO, and its
destruction by photons, He+ and cosmic rays.
"""

from algorithmic.disks import network
from algorithmic.disks.network import Network, Reaction

_TWO = "arrhenius"
_ROWS = (
    ("H2", "H2+ e-", "cr ionisation", 1.2e-17, 0.0, 0.0),
    ("H", "H+ e-", "cr ionisation", 5.98e-18, 0.0, 0.0),
    ("He", "He+ e-", "cr ionisation", 6.5e-18, 0.0, 0.0),
    ("CO", "O C", "cr photon", 1.3e-17, 1.17, 105.0),
    ("C", "C+ e-", "cr photon", 1.3e-17, 0.0, 130.0),
    ("H2", "H H", "photo", 5.7e-11, 0.0, 4.2),
    ("CO", "O C", "photo", 2.4e-10, 0.0, 3.88),
    ("C", "C+ e-", "photo", 3.5e-10, 0.0, 3.76),
    ("CH", "C H", "photo", 9.19e-10, 0.0, 2.12),
    ("CH2", "CH H", "photo", 5.81e-10, 0.0, 2.35),
    ("H H", "H2", "h2 formation", 1.0, 0.0, 0.0),
    ("H2+ H2", "H3+ H", _TWO, 2.08e-9, 0.0, 0.0),
    ("H3+ CO", "HCO+ H2", _TWO, 1.36e-9, -0.14, -3.4),
    ("HCO+ e-", "CO H", _TWO, 2.4e-7, -0.69, 0.0),
    ("H3+ e-", "H2 H", _TWO, 2.34e-8, -0.52, 0.0),
    ("H3+ e-", "H H H", _TWO, 4.36e-8, -0.52, 0.0),
    ("He+ CO", "O C+ He", _TWO, 1.6e-9, 0.0, 0.0),
    ("H2 He+", "H+ H He", _TWO, 3.0e-14, 0.0, 0.0),
    ("H2 C+", "CH2+", _TWO, 2.0e-16, -1.3, 23.0),
    ("H2 CH2+", "CH3+ H", _TWO, 1.6e-9, 0.0, 0.0),
    ("CH2+ e-", "CH H", _TWO, 1.6e-7, -0.6, 0.0),
    ("CH2+ e-", "C H H", _TWO, 4.03e-7, -0.6, 0.0),
    ("CH3+ e-", "CH2 H", _TWO, 7.75e-8, -0.5, 0.0),
    ("CH3+ e-", "CH H H", _TWO, 2.0e-7, -0.4, 0.0),
    ("CH3+ O", "HCO+ H2", _TWO, 4.0e-10, 0.0, 0.0),
    ("CH O", "CO H", _TWO, 6.02e-11, 0.1, -4.5),
    ("CH2 O", "CO H H", _TWO, 2.04e-10, 0.0, 270.0),
    ("H2 C", "CH2", _TWO, 1.0e-17, 0.0, 0.0),
    ("H CH", "C H2", _TWO, 1.31e-10, 0.0, 80.0),
    ("H CH2", "CH H2", _TWO, 2.5e-10, 0.0, 1.67),
    ("C+ e-", "C", _TWO, 2.36e-12, -0.29, -17.6),
    ("H+ e-", "H", _TWO, 3.5e-12, -0.75, 0.0),
    ("He+ e-", "He", _TWO, 5.36e-12, -0.5, 0.0),
)


def co_h2() -> Network:
    """33 reactions of 17 species."""
    return network.build(
        [
            Reaction(tuple(left.split()), tuple(right.split()), kind, a, b, g, 10.0, 41000.0)
            for left, right, kind, a, b, g in _ROWS
        ]
    )
