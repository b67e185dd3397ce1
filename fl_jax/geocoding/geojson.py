"""Cells as GeoJSON [RFC 7946]: longitudes first, split at the antimeridian, valid at the poles."""

import numpy as np

from fl_jax.geocoding import outline

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

    The widest stretch of longitudes without any of it is what is left out [RFC 7946, 5.2].

    Example:
        >>> cell = multipolygon(np.array([0]), np.array([1]))
        >>> [round(x) for x in bounds(cell)] == [round(x) for x in box(0, 1)]
        True
    """
    outer = [np.array(polygon[0]) for polygon in shape["coordinates"]]
    spans = sorted((float(ring[:, 0].min()), float(ring[:, 0].max())) for ring in outer)
    south = min(float(ring[:, 1].min()) for ring in outer)
    north = max(float(ring[:, 1].max()) for ring in outer)
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
