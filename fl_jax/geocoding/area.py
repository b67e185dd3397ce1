"""Where answers may lie, and where they are likelier."""

from typing import NamedTuple

import numpy as np

from fl_jax.core import errors
from fl_jax.geocoding import sphere
from fl_jax.geocoding.gazetteer import Gazetteer

LIKELIER = 30.0  # how much, at the point of interest or in the preferred rectangle
NEAR_KM = 100.0  # in which that falls to 1/e


class Box(NamedTuple):
    """A rectangle of longitudes (-180 to 180) and latitudes; west > east across longitude 180."""

    west: float
    south: float
    east: float
    north: float

    def holds(self, lat, lon):
        """Whether points lie in it."""
        west, east = self.west <= lon, lon <= self.east
        wide = west | east if self.west > self.east else west & east
        return wide & (self.south <= lat) & (lat <= self.north)


class Area(NamedTuple):
    """What a request asks of where its answers lie; by default nothing."""

    countries: frozenset[str] = frozenset()  # ISO codes, all if empty
    box: Box | None = None
    near: tuple[float, float] | None = None  # (lat, lon) of interest
    preferred: Box | None = None

    @property
    def restricts(self) -> bool:
        """Whether it leaves anything out."""
        return bool(self.countries) or self.box is not None

    def holds(self, lat: float, lon: float, country: str) -> bool:
        """Whether a point in a country may be an answer."""
        inside = self.box is None or bool(self.box.holds(lat, lon))
        return inside and (not self.countries or country in self.countries)

    def likelier(self, lat, lon):
        """How much likelier points are meant than they were without a preference."""
        found = np.ones_like(lat, np.float64)
        if self.near is not None:
            found += LIKELIER * np.exp(-sphere.distance(*self.near, lat, lon) / NEAR_KM)
        if self.preferred is not None:
            found += LIKELIER * self.preferred.holds(lat, lon)
        return found

    def _check(self, known) -> None:
        unknown = sorted(self.countries - known)
        if unknown:
            raise errors.ConfigError(
                f"the gazetteer has no country {unknown[0]!r}; give ISO codes in capitals: FR."
            )
        points = [self.near] if self.near is not None else []
        for box in (self.box, self.preferred):
            points += [] if box is None else [(box.south, box.west), (box.north, box.east)]
        for lat, lon in points:
            if not (abs(lat) <= 90 and abs(lon) <= 180):
                raise errors.ConfigError(
                    f"latitude {lat}, longitude {lon} is no place on Earth; across longitude 180 a"
                    " box has its west above its east."
                )

    def weights(self, places: Gazetteer) -> np.ndarray | None:
        """(places,) how much likelier each is meant, 0 for those left out; None if all are 1.

        Raises:
            ConfigError: a country that the gazetteer does not have, or what is no place on Earth.
        """
        if self == Area():
            return None
        self._check({r.code for r in places.regions[: places.countries]})
        found = self.likelier(places.lat, places.lon)
        if self.box is not None:
            found = found * self.box.holds(places.lat, places.lon)
        if self.countries:
            own = [n for n, r in enumerate(places.regions[: places.countries])
                   if r.code in self.countries]  # fmt: skip
            found = found * np.isin(places.country, own)
        return found
