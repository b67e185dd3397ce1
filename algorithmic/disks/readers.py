"""Readers of network files: UMIST, KIDA, UCLCHEM, and RATE12 with grains."""

import csv
import io
import math
import pathlib
from collections.abc import Iterator

from algorithmic.disks import network, species
from algorithmic.disks.constants import ZETA0
from algorithmic.disks.network import Reaction
from fl_jax.core import errors

FORMATS = ("umist", "kida", "uclchem", "rate12-grain")
NOT_SPECIES = {
    "", "NAN", "PHOTON", "CRP", "CRPHOT", "CR", "Photon", "M", "CRPHOTON", "FREEZE", "THERM",
    "DESOH2", "DESCR", "DEUVCR", "LH", "LHDES", "ER", "ERDES", "H2FORM", "BULKSWAP", "SURFSWAP",
}  # fmt: skip
UMIST_KINDS = {"CP": "cr ionisation", "CR": "cr photon", "PH": "photo"}
UMIST_TWO_BODY = {"AD", "CD", "CE", "DR", "IN", "MN", "NN", "RA", "REA", "RR"}


def read_network(path, format: str | None = None, *, check: bool = True) -> network.Network:
    """The network in a file.

    Args:
        path: the file.
        format: "umist" (RATE12, RATE22; colons, quoted notes), "kida" (fixed columns), "uclchem"
            (CSV; only the gas phase is kept, surface types are UCLCHEM's own), "rate12-grain"
            (RATE12 with accretion, desorption and surface reactions); None guesses.
        check: refuse reactions that do not balance in elements and charge.

    Raises:
        DataError: the file is not there, not one of these, or has a malformed line; the message
            gives file, line and reason.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise errors.DataError(f"there is no network file {path}; give the path of one.")
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    if format is None:
        format = _guess(path, text)
    errors.one_of("network format", format, FORMATS)
    reader = {"umist": umist, "kida": kida, "uclchem": uclchem, "rate12-grain": rate12_grain}
    return network.build(list(reader[format](text, path.name)), check=check)


def _guess(path: pathlib.Path, text: str) -> str:
    lines = [ln for ln in text.splitlines() if ln.strip() and ln[0] not in "!#"]
    if not lines:
        raise errors.DataError(f"{path} holds no reaction; give a network file.")
    if lines[0].startswith("Reactant 1,"):
        return "uclchem"
    if lines[0].count(":") > 10:
        return "umist"
    if len(lines[0]) > 165:
        return "kida"
    if not lines[0][123:126].strip().isdigit():
        raise errors.DataError(
            f"{path.name} looks like none of {', '.join(FORMATS)}; name the format that it has."
        )
    return "rate12-grain"


def _number(text: str, what: str, where: str, *, empty: float | None = None) -> float:
    if not text.strip() and empty is not None:
        return empty
    try:
        value = float(text.strip().replace("D", "e").replace("d", "e"))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise errors.DataError(f"{where}: {what} should be a number, but {text.strip()!r} came.")
    return value


def _species(fields, upper: bool) -> tuple[str, ...]:
    kept = (f.strip() for f in fields)
    return tuple(species.from_upper(f) if upper else f for f in kept if f not in NOT_SPECIES)


def _is_upper(text: str) -> bool:
    """Whether helium is printed HE and the electron E-."""
    return ":E-:" in text or "E- " in text


def umist(text: str, file: str = "") -> Iterator[Reaction]:
    """Reactions of a RATE12 or RATE22 file; notes are quoted and may hold colons."""
    upper = _is_upper(text)
    for line, fields in enumerate(csv.reader(io.StringIO(text), delimiter=":"), 1):
        if not fields or fields[0].startswith(("#", "!")) or not "".join(fields).strip():
            continue
        where = f"{file} line {line}"
        if len(fields) < 16:
            raise errors.DataError(
                f"{where}: a UMIST line has id:type:2 reactants:4 products:fits:(9 fields a fit),"
                f" but only {len(fields)} fields came."
            )
        kind = fields[1].strip()
        if kind not in UMIST_KINDS and kind not in UMIST_TWO_BODY:
            raise errors.DataError(f"{where}: unknown reaction type {kind!r}.")
        fits = int(_number(fields[8], "the number of fits", where))
        if fits < 1:
            raise errors.DataError(f"{where}: a reaction has one fit at least, {fits} came.")
        if len(fields) < 9 + 9 * fits:
            raise errors.DataError(
                f"{where}: {fits} fits need {9 + 9 * fits} fields, but {len(fields)} came."
            )
        for fit in range(fits):
            a, b, c, low, high = (
                _number(fields[9 + 9 * fit + k], what, where)
                for k, what in enumerate(("alpha", "beta", "gamma", "Tmin", "Tmax"))
            )
            yield Reaction(
                _species(fields[2:4], upper),
                _species(fields[4:8], upper),
                UMIST_KINDS.get(kind, "arrhenius"),
                *(a, b, c, low, high),
                id=int(_number(fields[0], "the id", where)),
                where=where,
            )


def kida(text: str, file: str = "") -> Iterator[Reaction]:
    """Reactions of a KIDA file: formulas 1 to 5; the grains' own rows (0, 10, 11) are left out.

    KIDA counts cosmic-ray rates in multiples of zeta; here alpha is the rate at zeta0. Misprints of
    the file of 2024 are read as what they must be: of a row with CR, CRP or Photon these decide,
    whatever its formula (25 rows); where the branching ratio of ions and dipoles (formulas 4, 5)
    would be below 0 it is an exponent (formula 3, 10 rows); and where formula 3 would let two
    molecules react at more than 1e-3 cm^3/s, alpha is the branching ratio (formula 4, one row).
    """
    upper = "E- " in text
    kinds = {1: "cr ionisation", 2: "photo", 3: "arrhenius", 4: "ionpol1", 5: "ionpol2"}
    means = {"CR": 1, "CRP": 1, "Photon": 2, "PHOTON": 2}
    for line, row in enumerate(text.splitlines(), 1):
        if not row.strip() or row[0] in "!#":
            continue
        where = f"{file} line {line}"
        tail = row[91:].split()
        if len(row) < 150 or len(tail) < 12:
            raise errors.DataError(
                f"{where}: a KIDA line has reactants in columns 1-33, products in 35-89 and 12"
                f" numbers, but {len(row)} columns came."
            )
        a, b, c = (_number(tail[k], what, where) for k, what in enumerate("ABC"))
        low, high = (_number(tail[k], what, where) for k, what in ((7, "Tmin"), (8, "Tmax")))
        formula = int(_number(tail[9], "the formula", where))
        if formula in (0, 10, 11) or "GRAIN" in row[:91].upper():
            continue
        if formula not in kinds:
            raise errors.DataError(f"{where}: formula {formula} is none of 0 to 5.")
        sides = [row[11 * k : 11 * k + 11].strip() for k in range(3)]
        formula = next((means[s] for s in sides if s in means), formula)
        if formula in (4, 5) and b < 0:
            formula = 3
        elif formula == 3 and a > 1e-3 and 0 < b < 1e-6:
            formula = 4
        if formula == 1:
            a *= ZETA0
        if low < 0:
            low, high = 0.0, math.inf
        yield Reaction(
            _species(sides, upper),
            _species((row[34 + 11 * k : 45 + 11 * k] for k in range(5)), upper),
            kinds[formula],
            *(a, b, c, low, high),
            id=int(_number(tail[10], "the id", where)),
            where=where,
        )


def uclchem(text: str, file: str = "") -> Iterator[Reaction]:
    """The gas phase of a UCLCHEM reactions.csv; rows on ice and of special types are left out.

    H2 + PHOTON and, where UCLCHEM shields it, CO + PHOTON are placeholders there (alpha 1): the
    former is left out.
    """
    types = {"CRP": "cr ionisation", "CRPHOT": "cr photon", "PHOTON": "photo"}
    skip = NOT_SPECIES - set(types) - {"", "NAN"}
    for line, row in enumerate(csv.reader(io.StringIO(text)), 1):
        if line == 1 or not "".join(row).strip() or row[0].startswith("!"):
            continue
        where = f"{file} line {line}"
        if len(row) < 12:
            raise errors.DataError(
                f"{where}: a UCLCHEM line has 3 reactants, 4 products, alpha, beta, gamma, T_min,"
                f" T_max, but only {len(row)} fields came."
            )
        involved = row[:7]
        special = {"CRS", "EXSOLID", "EXRELAX", "GAR"} | skip
        if any(f in special or f.startswith(("#", "@")) for f in involved):
            continue
        if involved[:2] == ["H2", "PHOTON"]:
            continue
        kind = next((types[f] for f in involved[:3] if f in types), "arrhenius")
        a, b, c, low, high = (
            _number(row[7 + k], what, where)
            for k, what in enumerate(("alpha", "beta", "gamma", "T_min", "T_max"))
        )
        yield Reaction(
            _species(involved[:3], True),
            _species(involved[3:7], True),
            kind,
            *(a, b, c, low, high),
            where=where,
            always=len(row) > 13 and row[13].strip() == "True",
        )


def rate12_grain(text: str, file: str = "") -> Iterator[Reaction]:
    """RATE12 with accretion (61), desorption (62), surface (63, 64) and photodesorption (75).

    Ice is printed with a leading g. Surface rows carry alpha, the share of the channel, and gamma,
    the barrier [K]; a desorption row carries gamma, the binding energy [K], and also gives the
    cosmic-ray heated desorption. The rows that form H2 on grains by the rate of H adsorption
    (type 0) are replaced by the form of this package. A line whose range of temperatures begins
    where that of the same reaction in the line before ends is another fit of it; both have the
    number of the first.
    """
    kinds = {1: "cr ionisation", 2: "cr photon", 3: "photo", 5: "arrhenius", 13: "photo"}
    grain = {
        61: "accretion",
        62: "thermal desorption",
        63: "surface",
        64: "surface",
        75: "photodesorption",
    }
    upper, before = True, None  # (reaction, its form, highest temperature, number) of a line
    for line, row in enumerate(text.splitlines(), 1):
        if not row.strip() or row[0] in "!#":
            continue
        where = f"{file} line {line}"
        padded = row.ljust(132)
        reactants = [padded[12 * k : 12 * k + 12].strip() for k in range(3)]
        products = [padded[36 + 12 * k : 48 + 12 * k].strip() for k in range(4)]
        a, b, c = (
            _number(padded[84 + 9 * k : 93 + 9 * k], what, where, empty=0.0)
            for k, what in enumerate(("alpha", "beta", "gamma"))
        )
        low = _number(padded[111:117], "Tmin", where, empty=0.0)
        high = _number(padded[117:123], "Tmax", where, empty=math.inf)
        kind = int(_number(padded[123:126], "the type", where))
        if kind not in kinds and kind not in grain:
            continue
        clean = lambda side: _species([f"#{s[1:]}" if s[:1] == "g" else s for s in side], upper)
        common = (clean(reactants), clean(products))
        named = kinds.get(kind) or grain[kind]
        if kind in grain:
            low, high = 0.0, math.inf
        further = before is not None and before[:2] == (common, named) and low >= before[2]
        number = before[3] if further else line
        before = common, named, high, number
        yield Reaction(*common, named, a, b, c, low, high, id=number, where=where)
        if kind == 62:
            yield Reaction(*common, "cr desorption", a, 0.0, c, id=line, where=where)
