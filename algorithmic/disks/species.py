"""What a species' name says: elements, charge, mass, and whether it is ice."""

import functools
import re

import numpy as np

from fl_jax.core import errors

# Standard atomic weights [amu]; D and GRAIN are counted as elements of their own.
MASSES = {
    "H": 1.008, "D": 2.014, "He": 4.0026, "C": 12.011, "N": 14.007, "O": 15.999, "F": 18.998,
    "Na": 22.990, "Mg": 24.305, "Al": 26.982, "Si": 28.085, "P": 30.974, "S": 32.06, "Cl": 35.45,
    "Ar": 39.948, "K": 39.098, "Ca": 40.078, "Ti": 47.867, "Fe": 55.845, "GRAIN": 0.0, "PAH": 0.0,
}  # fmt: skip
ELECTRON = "e-"
ELECTRON_MASS = 5.4858e-4  # [amu]
_SYMBOL = re.compile(
    "|".join(sorted(MASSES, key=len, reverse=True)) + r"|(\d+)"
)  # the longest symbol first: Si before S
_ISOMER = re.compile(r"^[A-Za-z]{1,5}-(?=[A-Z])|^(?:[lcopmt])(?=[A-Z]\w*\d)")


@functools.cache
def composition(name: str) -> dict[str, int]:
    """Atoms of each element in `name`, e.g. {"H": 1, "C": 1, "O": 1} for HCO+.

    Raises:
        DataError: the name holds something that is no element.

    Example:
        >>> composition("HCO+"), composition("#CH3OH"), composition("e-")
        ({'H': 1, 'C': 1, 'O': 1}, {'C': 1, 'H': 4, 'O': 1}, {})
    """
    if name == ELECTRON:
        return {}
    body = _ISOMER.sub("", name.lstrip("#@").rstrip("+-").removesuffix("*"))
    if body == "GRAIN0":
        body = "GRAIN"
    counts: dict[str, int] = {}
    last, position = "", 0
    while position < len(body):
        match = _SYMBOL.match(body, position)
        if match is None:
            raise errors.DataError(
                f"the species {name!r} should be made of {', '.join(MASSES)}, but"
                f" {body[position:]!r} is none of them; correct its name."
            )
        if match.group(1) is None:
            last = match.group()
            counts[last] = counts.get(last, 0) + 1
        elif not last:
            raise errors.DataError(f"the species {name!r} begins with a number; correct its name.")
        else:
            counts[last] += int(match.group(1)) - 1
        position = match.end()
    return counts


def charge(name: str) -> int:
    """Elementary charges: +1 for HCO+, -1 for e-."""
    body = name.lstrip("#@")
    return (len(body) - len(body.rstrip("+"))) - (len(body) - len(body.rstrip("-")))


def mass(name: str) -> float:
    """Mass [amu]."""
    if name == ELECTRON:
        return ELECTRON_MASS
    return sum(MASSES[element] * count for element, count in composition(name).items())


def is_ice(name: str) -> bool:
    """Whether the species sits on a grain: "#" marks ice, "@" the bulk ice of UCLCHEM."""
    return name.startswith(("#", "@"))


def heavy_atoms(name: str) -> int:
    """Atoms other than hydrogen, deuterium and helium."""
    return sum(n for element, n in composition(name).items() if element not in ("H", "D", "He"))


def conserved(names: tuple[str, ...]) -> tuple[tuple[str, ...], np.ndarray]:
    """What a balanced network keeps.

    Args:
        names: the N species.

    Returns:
        (labels, weights (K, N) float64): every element that occurs and "charge"; `weights @ x`
        are the conserved sums.
    """
    elements = sorted({e for name in names for e in composition(name)})
    rows = [[composition(n).get(e, 0) for n in names] for e in elements]
    rows.append([charge(n) for n in names])
    return (*elements, "charge"), np.array(rows, np.float64)


_UPPER = re.compile("HE|SI|CL|NA|MG|FE|AL|AR|TI")


def from_upper(name: str) -> str:
    """The name in the case of the periodic table, for networks that print HE, SI, CL, E-.

    Example:
        >>> [from_upper(n) for n in ("HE+", "SIC2", "E-", "HCL", "HNCO", "#CH3OH")]
        ['He+', 'SiC2', 'e-', 'HCl', 'HNCO', '#CH3OH']
    """
    if name == "E-":
        return ELECTRON
    return _UPPER.sub(lambda m: m.group().capitalize(), name)
