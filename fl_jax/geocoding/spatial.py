"""Spatial expressions: "20 km north of Paris" as an exact displacement."""

import re
from typing import NamedTuple

from fl_jax.geocoding import sphere

KM = {"km": 1.0, "kilometres": 1.0, "kilometers": 1.0, "kilometre": 1.0, "kilometer": 1.0,
      "kilomètres": 1.0, "kilómetros": 1.0, "quilômetros": 1.0, "chilometri": 1.0, "км": 1.0,
      "miles": 1.609344, "mile": 1.609344, "mi": 1.609344, "m": 0.001, "meters": 0.001,
      "metres": 0.001}  # fmt: skip
# bearing in degrees, clockwise from north: the words for it
_NAMES = {
    0: "north|nördlich|nord|norte|северу|севернее|n",
    45: "northeast|north-east|nordöstlich|nord-est|noreste|nordeste|ne",
    90: "east|östlich|est|este|leste|востоку|восточнее|e",
    135: "southeast|south-east|südöstlich|sud-est|sureste|sudeste|se",
    180: "south|südlich|sud|sur|sul|югу|южнее|s",
    225: "southwest|south-west|südwestlich|sud-ouest|sudoeste|suroeste|sw",
    270: "west|westlich|ouest|oeste|ovest|западу|западнее|w",
    315: "northwest|north-west|nordwestlich|nord-ouest|noroeste|nw",
}
BEARINGS = {name: bearing for bearing, names in _NAMES.items() for name in names.split("|")}
_LINKS = "of|from|von|de|du|des|d'|di|от|da|do"
# Groups of three digits behind one sign throughout, or plain digits; then a decimal part behind
# another sign. One sign before exactly three digits groups them, unless a 0 stands before it.
_GROUPED = r"[1-9]\d{0,2}([.,'’ \u00a0\u2009\u202f])\d{3}(?:\2\d{3}){0,2}(?:(?!\2)[.,]\d+)?"
_PLAIN = r"\d{1,9}(?:[.,]\d+)?"
_PATTERN = re.compile(
    rf"(?<!\w)(?<!\d[.,'’])({_GROUPED}|{_PLAIN})\s*"
    rf"({'|'.join(sorted(KM, key=len, reverse=True))})\s+"
    rf"(?:to the |au |a |al |к |in the )?"
    rf"({'|'.join(sorted(BEARINGS, key=len, reverse=True))})\s+(?:{_LINKS})\s*(?:the\s+)?",
    re.IGNORECASE,
)


class Offset(NamedTuple):
    """A displacement that a text states, and where its anchor's name begins."""

    km: float
    bearing: float
    start: int  # character at which the expression begins
    anchor: int  # character at which the name begins

    def apply(self, lat, lon):
        """The place so far away at that bearing, along a great circle."""
        return sphere.move(lat, lon, self.bearing, self.km)


def find(text: str) -> list[Offset]:
    """The displacements in a text; numbers as any language groups their digits.

    Example:
        >>> find("a mine 20 km north-east of Paris")
        [Offset(km=20.0, bearing=45.0, start=7, anchor=27)]
        >>> find("1.234,5 km nördlich von Graz")[0].km
        1234.5
    """
    found = []
    for m in _PATTERN.finditer(text):
        number, group, unit, direction = m.groups()
        number = number.replace(group, "") if group else number
        km = float(number.replace(",", ".")) * KM[unit.lower()]
        found.append(Offset(km, float(BEARINGS[direction.lower()]), m.start(), m.end()))
    return found
