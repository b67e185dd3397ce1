"""Cells as GeoJSON [RFC 7946]: longitudes first, split at the antimeridian, valid at the poles."""

import numpy as np

from fl_jax.geocoding import outline, s2

DIGITS = 6  # of a coordinate: 0.1 m


def rings(key: int, level: int) -> list[list[list[float]]]:
    """Closed rings [[lon, lat], ...] of a cell, one, or one on either side of longitude 180.

    Edges are arcs of great circles; large cells get points along them, so that straight lines
    between the points follow the arcs. Rings run counter-clockwise.
    """
    found = outline.polygons(np.array([key]), np.array([level]))
    return [_closed(polygon[0]) for polygon in found]


def multipolygon(keys: np.ndarray, levels: np.ndarray) -> dict:
    """Disjoint cells as one MultiPolygon; those that share an edge are one polygon."""
    found = outline.polygons(keys, levels)
    coordinates = [[_closed(ring) for ring in polygon] for polygon in found]
    return {"type": "MultiPolygon", "coordinates": coordinates}


def box(key: int, level: int) -> tuple[float, float, float, float]:
    """(west, south, east, north) of a cell; west > east where it crosses longitude 180."""
    parts = rings(key, level)
    south = min(y for ring in parts for _, y in ring)
    north = max(y for ring in parts for _, y in ring)
    spans = sorted((min(x for x, _ in ring), max(x for x, _ in ring)) for ring in parts)
    if len(spans) == 2 and spans[1][0] > spans[0][1]:
        return spans[1][0], south, spans[0][1], north
    return spans[0][0], south, max(last for _, last in spans), north


def bounds(shape: dict) -> tuple[float, float, float, float]:
    """(west, south, east, north) of a MultiPolygon; west > east where it crosses longitude 180.

    Example:
        >>> cell = multipolygon(np.array([0]), np.array([1]))
        >>> [round(x) for x in bounds(cell)] == [round(x) for x in box(0, 1)]
        True
    """
    outer = [np.array(polygon[0]) for polygon in shape["coordinates"]]
    return union([(*ring.min(0).tolist(), *ring.max(0).tolist()) for ring in outer])


def square(lat: float, lon: float, km: float) -> tuple[float, float, float, float]:
    """(west, south, east, north) of the circle around a point; west > east across longitude 180.

    Args:
        lat, lon: of its centre, in degrees.
        km: its radius, half of a side.

    Example:
        >>> [round(x, 2) for x in square(60.0, 179.9, 20.0)]
        [179.54, 59.82, -179.74, 60.18]
    """
    reach = km / s2.EARTH_KM
    south, north = lat - np.rad2deg(reach), lat + np.rad2deg(reach)
    if south <= -90 or north >= 90:  # a pole lies in it, and with it every longitude
        return -180.0, max(float(south), -90.0), 180.0, min(float(north), 90.0)
    half = np.rad2deg(np.arcsin(np.sin(reach) / np.cos(np.deg2rad(lat))))
    west, east = ((x + 180) % 360 - 180 for x in (lon - half, lon + half))
    return float(west), float(south), float(east), float(north)


def union(boxes) -> tuple[float, float, float, float]:
    """(west, south, east, north) of boxes of that form; west > east where it crosses longitude 180.

    The widest stretch of longitudes without any of them is what is left out [RFC 7946, 5.2].

    Example:
        >>> union([(170, -20, 179, -10), (-179, -30, -170, -25)])
        (170.0, -30.0, -170.0, -10.0)
    """
    west, south, east, north = np.array(boxes, np.float64).T
    cut = west > east
    spans = [*zip(west[~cut], east[~cut], strict=True), *((x, 180.0) for x in west[cut])]
    spans = sorted([*spans, *((-180.0, x) for x in east[cut])])
    south, north = float(south.min()), float(north.max())
    reach = np.maximum.accumulate([last for _, last in spans])
    # What is open behind each span; behind the last one, to the first one beyond longitude 180.
    starts = np.array([first for first, _ in spans])
    gaps = np.append(starts[1:], starts[0] + 360) - reach
    widest = int(np.argmax(gaps))
    if gaps[widest] <= 0:
        return -180.0, south, 180.0, north
    west = starts[(widest + 1) % len(starts)]
    return float(west), south, float(reach[widest]), north


def _closed(ring: outline.Ring) -> list[list[float]]:
    rounded = [[round(x, DIGITS), round(y, DIGITS)] for x, y in ring]
    return [*rounded, rounded[0]]
