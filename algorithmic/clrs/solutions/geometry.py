"""Convex hulls: points on the boundary that are no corners may be counted in or out."""

import numpy as np

CLOSE = 1e-6  # radians: how far from straight a corner must be


def hull(inputs, said):
    """The corners, with whatever was said of points on the sides; of several points at one corner
    those that were said, or the first.

    Seen from a corner all other points lie within less than a half turn, seen from the middle of
    a side within exactly one.
    """
    x, y = inputs["x"].astype(np.float64), inputs["y"].astype(np.float64)
    wanted = said["in_hull"] == 1
    out = np.zeros(len(x), np.int8)
    for i in range(len(x)):
        same = (x == x[i]) & (y == y[i])
        angles = np.sort(np.arctan2(y[~same] - y[i], x[~same] - x[i]))
        if not len(angles):
            free = np.pi * 2
        else:
            free = np.max(np.diff(np.append(angles, angles[0] + 2 * np.pi)))
        if free >= np.pi + CLOSE:
            chosen = same & wanted
            out[i] = wanted[i] if np.any(chosen) else i == np.argmax(same)
        elif free > np.pi - CLOSE:
            out[i] = wanted[i]
    return {"in_hull": out}
