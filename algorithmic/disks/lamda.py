"""Molecules from the Leiden Atomic and Molecular Database [Schoeier et al. 2005]."""

import pathlib
import re
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from algorithmic.disks import constants as c
from fl_jax.core import errors


class Partner(NamedTuple):
    """Collisions with one kind of particle."""

    name: str  # H2, p-H2, o-H2, H, e-, H+, He
    upper: Int[np.ndarray, " K"]  # places of levels
    lower: Int[np.ndarray, " K"]
    temperature: Float[np.ndarray, " T"]  # [K]
    rate: Float[np.ndarray, "K T"]  # downwards [cm^3/s]


class Molecule(NamedTuple):
    """Levels, lines and collisions."""

    name: str
    mass: float  # [amu]
    energy: Float[np.ndarray, " L"]  # [K]
    weight: Float[np.ndarray, " L"]
    labels: tuple[str, ...]
    upper: Int[np.ndarray, " M"]  # of the lines, places of levels
    lower: Int[np.ndarray, " M"]
    einstein: Float[np.ndarray, " M"]  # A [1/s]
    frequency: Float[np.ndarray, " M"]  # [Hz]
    partners: tuple[Partner, ...]

    def line(self, label: str) -> int:
        """The line "2-1" (labels of upper and lower level), or "230.538" (GHz, nearest).

        Raises:
            ConfigError: no such line, or none within 1 % of a frequency.
        """
        if re.fullmatch(r"\d+\.\d+", label):
            at = int(np.abs(self.frequency - 1e9 * float(label)).argmin())
            found = self.frequency[at] / 1e9
            if abs(found / float(label) - 1) > 0.01:
                raise errors.ConfigError(
                    f"{self.name} has no line near {label} GHz; the nearest lies at {found:.6g}."
                )
            return at
        names = [
            f"{self.labels[u]}-{self.labels[w]}"
            for u, w in zip(self.upper, self.lower, strict=True)
        ]
        errors.one_of(f"line of {self.name}", label, names)
        return names.index(label)


PARTNERS = {1: "H2", 2: "p-H2", 3: "o-H2", 4: "e-", 5: "H", 6: "He", 7: "H+"}


def read(path) -> Molecule:
    """The molecule in a LAMDA file.

    Energies are taken from the levels (cm^-1), frequencies from the lines. Comment lines may hold
    anything; notes after numbers and after the last partner are ignored.

    Raises:
        DataError: the file is missing or malformed, with file, line and reason.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise errors.DataError(f"there is no LAMDA file {path}; give the path of one.")
    return _Lines(path.name, path.read_text(errors="replace").splitlines()).molecule()


class _Lines:
    """A cursor over the lines of a file."""

    def __init__(self, file: str, lines: list[str]):
        self.file, self.lines, self.at = file, lines, 0

    def fail(self, reason: str):
        raise errors.DataError(f"{self.file} line {self.at}: {reason}.")

    def next(self) -> str:
        if self.at >= len(self.lines):
            self.at += 1
            self.fail("the file ends where more lines were announced")
        self.at += 1
        return self.lines[self.at - 1]

    def numbers(self, count: int | None = None, what: str = "numbers") -> list[float]:
        """The leading numbers of the next line; `count` of them at least."""
        found = []
        for word in self.next().split():
            try:
                found.append(_finite(word))
            except ValueError:
                break
        if len(found) < (1 if count is None else count):
            self.fail(f"{count or 'some'} {what} were expected, {len(found)} came")
        return found

    def count(self, what: str) -> int:
        """A number of things that follow, one at least."""
        found = int(self.numbers(1, what)[0])
        if found < 1:
            self.fail(f"the {what} must be above 0, {found} came")
        return found

    def molecule(self) -> Molecule:
        self.next()
        name = self.next().strip()
        self.next()
        (mass, *_) = self.numbers(1, "molecular weight")
        self.next()
        levels = self.count("number of levels")
        self.next()
        energy, weight, labels = np.empty(levels), np.empty(levels), []
        for i in range(levels):
            fields = self.next().split()
            try:
                energy[i], weight[i] = (_finite(field) for field in fields[1:3])
            except ValueError:
                self.fail("a level has number, energy, weight and label")
            if fields[0] != str(i + 1):
                self.fail(f"levels are numbered from 1 on, but {fields[0]!r} stands for {i + 1}")
            labels.append("_".join(fields[3:]) or str(i))
        self.next()
        if not (weight > 0).all():
            self.fail("the weight of a level must be above 0")
        count = self.count("number of transitions")
        self.next()
        rows = np.array([self.numbers(5, "fields of a transition")[:5] for _ in range(count)])
        upper, lower = self.places(rows[:, 1], levels), self.places(rows[:, 2], levels)
        if (rows[:, 3:] <= 0).any():
            self.fail("Einstein A and frequency of a transition must be above 0")
        partners = []
        self.next()
        for _ in range(int(self.numbers(1, "number of partners")[0])):
            self.next()
            partners.append(self.partner(levels))
        kelvin = c.H * c.C / c.K * energy
        numbers = (rows[:, 3], rows[:, 4] * 1e9)
        return Molecule(
            name, mass, kelvin, weight, tuple(labels), upper, lower, *numbers, tuple(partners)
        )

    def places(self, numbers, levels: int) -> np.ndarray:
        out = np.asarray(numbers, np.int64) - 1
        if len(out) and (out.min() < 0 or out.max() >= levels):
            self.fail(f"a level number lies outside 1..{levels}")
        return out

    def partner(self, levels: int) -> Partner:
        text = self.next()
        kind = re.match(r"\s*(\d+)", text)
        name = PARTNERS.get(int(kind.group(1)), text.strip()) if kind else text.strip()
        self.next()
        count = self.count("number of collisions")
        self.next()
        temperatures = self.count("number of temperatures")
        self.next()
        axis = np.array(self.numbers(temperatures, "temperatures")[:temperatures])
        self.next()
        width = 3 + temperatures
        rows = np.array([self.numbers(width, "fields of a rate")[:width] for _ in range(count)])
        upper, lower = (self.places(rows[:, k], levels) for k in (1, 2))
        if (rows[:, 3:] < 0).any() or not (np.diff(axis, prepend=0) > 0).all():
            self.fail("temperatures of collisions must rise from above 0, and rates be 0 or more")
        return Partner(name, upper, lower, axis, rows[:, 3:])


def _finite(word: str) -> float:
    """The number that a word is.

    Raises:
        ValueError: it is none, or not finite.
    """
    value = float(word.replace("D", "e").replace("d", "e"))
    if not np.isfinite(value):
        raise ValueError(word)
    return value


# Rotation of carbon monoxide: (B, D [MHz], dipole [Debye], mass [amu]) [Winnewisser et al. 1997;
# Klapper et al. 2001].
ROTORS = {
    "CO": (57635.968, 0.18350, 0.11011, 28.0),
    "13CO": (55101.012, 0.16764, 0.11011, 29.0),
    "C18O": (54891.421, 0.16615, 0.11011, 30.0),
}


def rotor(name: str, levels: int = 41) -> Molecule:
    """A linear rotor from its constants, without collisions: for runs without the data folder.

    nu_J = 2BJ - 4DJ^3, A = 64 pi^4 nu^3 mu^2 / (3 h c^3) J/(2J + 1).
    """
    errors.one_of("molecule", name, ROTORS)
    b, d, dipole, mass = ROTORS[name]
    j = np.arange(levels)
    energy = c.H / c.K * 1e6 * (b * j * (j + 1) - d * (j * (j + 1)) ** 2)
    up = j[1:]
    frequency = 1e6 * (2 * b * up - 4 * d * up**3.0)
    moment = (dipole * 1e-18) ** 2 * up / (2 * up + 1)
    einstein = 64 * np.pi**4 * frequency**3 * moment / (3 * c.H * c.C**3)
    labels = tuple(str(k) for k in j)
    numbers = (energy, 2.0 * j + 1, labels, up, up - 1, einstein, frequency)
    return Molecule(name, mass, *numbers, ())
