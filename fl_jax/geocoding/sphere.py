"""Distances and means on the sphere; kilometres, degrees, unit vectors."""

import numpy as np

from fl_jax.geocoding import s2

HALF_TURN_KM = 20039.0  # the farthest two places are apart, as the geoparsing metrics have it


def distance(lat1, lon1, lat2, lon2) -> s2.Numbers:
    """Great-circle distance in km by the haversine formula, R = 6371.0088 km.

    Example:
        >>> round(float(distance(48.8566, 2.3522, 51.5074, -0.1278)), 1)  # Paris to London
        343.6
    """
    a, b = np.deg2rad(lat1), np.deg2rad(lat2)
    half = np.sin((b - a) / 2) ** 2
    half = half + np.cos(a) * np.cos(b) * np.sin(np.deg2rad(np.subtract(lon2, lon1)) / 2) ** 2
    return 2 * s2.EARTH_KM * np.arcsin(np.sqrt(np.clip(half, 0, 1)))


def chord_km(a: np.ndarray, b: np.ndarray) -> s2.Numbers:
    """Distance in km of unit vectors (..., 3), exact for near ones."""
    return 2 * s2.EARTH_KM * np.arcsin(np.clip(np.linalg.norm(a - b, axis=-1) / 2, 0, 1))


def move(lat, lon, bearing, km) -> tuple[s2.Numbers, s2.Numbers]:
    """The point `km` away at a bearing (degrees, clockwise from north) along a great circle.

    Example:
        >>> [round(float(x), 3) for x in move(0.0, 179.5, 90.0, 111.195)]
        [0.0, -179.5]
    """
    phi, theta = np.deg2rad(lat), np.deg2rad(bearing)
    angle = np.asarray(km) / s2.EARTH_KM
    north = np.cos(phi) * np.cos(angle) - np.sin(phi) * np.sin(angle) * np.cos(theta)
    east = np.sin(angle) * np.sin(theta)
    up = np.sin(phi) * np.cos(angle) + np.cos(phi) * np.sin(angle) * np.cos(theta)
    to, turn = np.arctan2(up, np.hypot(north, east)), np.arctan2(east, north)
    return np.rad2deg(to), (np.asarray(lon) + np.rad2deg(turn) + 180) % 360 - 180


def mean_direction(points: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Unit vector of the weighted mean of unit vectors (n, 3); the heaviest if they cancel."""
    total = weights @ points
    size = np.linalg.norm(total)
    return total / size if size > 1e-9 else points[int(np.argmax(weights))]


def geometric_median(
    points: np.ndarray, weights: np.ndarray, *, iterations: int = 50
) -> np.ndarray:
    """The unit vector whose expected great-circle distance to weighted points is the least.

    Weiszfeld's iteration in the tangent plane, started at the best of the points; the better of
    the two is returned, so that the result is never worse than any of the points.

    Args:
        points: (n, 3) unit vectors.
        weights: (n,) not negative, with a positive sum.
    """
    angles = lambda x: np.arccos(np.clip(points @ x, -1, 1))
    costs = np.arccos(np.clip(points @ points.T, -1, 1)) @ weights
    start = points[int(np.argmin(costs))]
    x = mean_direction(points, weights)
    for _ in range(iterations):
        angle = angles(x)
        near = np.maximum(angle, 1e-9)
        tangent = points - np.outer(points @ x, x)
        length = np.maximum(np.linalg.norm(tangent, axis=1), 1e-12)
        pull = weights / near
        step = ((pull * near / length) @ tangent) / max(pull.sum(), 1e-12)
        size = np.linalg.norm(step)
        if size < 1e-9:
            break
        x = np.cos(size) * x + np.sin(size) * step / size
        x /= np.linalg.norm(x)
    return x if weights @ angles(x) < costs.min() else start
