"""Cells as GeoJSON [RFC 7946]: longitudes first, split at the antimeridian, valid at the poles."""

import numpy as np

from fl_jax.geocoding import s2
from fl_jax.geocoding.cells import Partition

DIGITS = 6  # of a coordinate: 0.1 m
POLAR_POINTS = 32  # along an edge near a pole


def rings(key: int, level: int) -> list[list[list[float]]]:
    """Closed rings [[lon, lat], ...] of a cell, one, or one on either side of longitude 180.

    Edges are arcs of great circles; large cells get points along them, so that straight lines
    between the points follow the arcs. Rings run counter-clockwise.
    """
    per_edge = max(1, 32 >> level)
    lat, lon = s2.latlon(s2.edge_points(key, level, per_edge))
    if np.abs(lat).max() > 80 and per_edge < POLAR_POINTS:  # meridians converge: arcs bend more
        lat, lon = s2.latlon(s2.edge_points(key, level, POLAR_POINTS))
    polar = np.abs(lat) > 90 - 1e-9
    around: list[tuple[float, float]] = []
    last = None
    order = np.roll(np.arange(len(lat)), -int(np.flatnonzero(~polar)[0]))
    for n in order:
        if polar[n]:
            after = float(lon[order[(list(order).index(n) + 1) % len(order)]])
            around.append((last, float(np.sign(lat[n]) * 90)))
            last += (after - last + 180) % 360 - 180
            around.append((last, float(np.sign(lat[n]) * 90)))
            continue
        x = float(lon[n])
        if last is not None:
            x = last + (x - last + 180) % 360 - 180
        around.append((x, float(lat[n])))
        last = x
    turn = last + (around[0][0] - last + 180) % 360 - 180 - around[0][0]
    if abs(turn) > 180:  # once around a pole: the ring goes along it and back
        pole = float(np.sign(lat.mean()) * 90)
        around += [(around[0][0] + turn, around[0][1])]
        around += [(around[0][0] + turn, pole), (around[0][0], pole)]
    out = []
    for shift in (-360.0, 0.0, 360.0):
        ring = [(x + shift, y) for x, y in around]
        ring = _clip(_clip(ring, -180.0, 1), 180.0, -1)
        if len(ring) > 2 and abs(_area(ring)) > 1e-12:
            if _area(ring) < 0:
                ring.reverse()
            closed = [[round(x, DIGITS), round(y, DIGITS)] for x, y in [*ring, ring[0]]]
            out.append(_without_repeats(closed))
    return out


def multipolygon(partition: Partition, nodes: np.ndarray) -> dict:
    """The cells as one MultiPolygon; cells that touch stay apart."""
    found = []
    for node in nodes:
        found += [[ring] for ring in rings(int(partition.key[node]), int(partition.level[node]))]
    return {"type": "MultiPolygon", "coordinates": found}


def box(key: int, level: int) -> tuple[float, float, float, float]:
    """(west, south, east, north) of a cell; west > east where it crosses longitude 180."""
    parts = rings(key, level)
    south = min(y for ring in parts for _, y in ring)
    north = max(y for ring in parts for _, y in ring)
    spans = sorted((min(x for x, _ in ring), max(x for x, _ in ring)) for ring in parts)
    if len(spans) == 2 and spans[1][0] > spans[0][1]:
        return spans[1][0], south, spans[0][1], north
    return spans[0][0], south, max(last for _, last in spans), north


def _clip(ring, limit, sign):
    """The part of a ring with sign * x >= sign * limit."""
    out = []
    for (x0, y0), (x1, y1) in zip(ring, ring[1:] + ring[:1], strict=True):
        in0, in1 = sign * (x0 - limit) >= 0, sign * (x1 - limit) >= 0
        if in0:
            out.append((x0, y0))
        if in0 != in1:
            out.append((limit, y0 + (y1 - y0) * (limit - x0) / (x1 - x0)))
    return out


def _area(ring) -> float:
    x, y = np.array(ring).T
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) / 2)


def _without_repeats(ring):
    out = [ring[0]]
    for point in ring[1:]:
        if point != out[-1]:
            out.append(point)
    return out
