"""S2 cells without the library: paths, ids, tokens, corners, for whole arrays.

A cell is a path: the face of the cube, 0 to 5, and a child 0 to 3 along the Hilbert curve for
every level, 30 at most. As an integer, a path of level L is its `key`: face * 4^L plus the
children as digits in base 4, so that the key of a parent is the key of its child divided by 4.
Angles are degrees. NumPy computes in float64 and agrees with s2geometry; `path_jax` runs on the
device in the dtype it is given.
"""

import re

import jax.numpy as jnp
import numpy as np

from fl_jax.core import errors
from fl_jax.core.types import Array, Float, Int

LEVELS = 30
EARTH_KM = 6371.0088  # mean radius
Numbers = np.ndarray | np.generic | float | int  # an array, or one number

# Of the four cells that halving i and j gives, number 2 i + j: its place on the curve, by the
# orientation there, and how the orientation changes inside the place.
_PLACE = np.array([[0, 1, 3, 2], [0, 3, 1, 2], [2, 3, 1, 0], [2, 1, 3, 0]], np.int8)
_TURN = np.array([1, 0, 0, 3], np.int8)
_IJ = np.argsort(_PLACE, axis=1).astype(np.int8)  # (orientation, place) -> 2 i + j


def _steps(levels: int):
    """Tables for several levels at once: (orientation, i bits, j bits) -> (key, orientation)."""
    size = 1 << levels
    orientation, i, j = np.meshgrid(np.arange(4), np.arange(size), np.arange(size), indexing="ij")
    key = np.zeros_like(i)
    for bit in reversed(range(levels)):
        place = _PLACE[orientation, 2 * (i >> bit & 1) + (j >> bit & 1)]
        key = 4 * key + place
        orientation = orientation ^ _TURN[place]
    return key.reshape(-1), orientation.reshape(-1)


_BITS = 5
_KEYS, _TURNS = _steps(_BITS)
_PACKED = (_KEYS << 2 | _TURNS).astype(np.int64)


def key(lat: Numbers, lon: Numbers, level: int) -> Numbers:
    """Keys (int64) of the cells of this level that hold the points.

    Raises:
        DataError: a coordinate that is not finite, or a latitude beyond a pole.

    Example:
        >>> text(key(48.8584, 2.2945, 8), 8)
        '203330303'
    """
    _check_level(level)
    face, i, j = _face_ij(lat, lon)
    found = face.astype(np.int64)
    orientation = found & 1
    done = 0
    while done < level:
        take = min(_BITS, level - done)
        shift = LEVELS - done - take
        mask = (1 << take) - 1
        if take == _BITS:
            place = (
                (orientation << 2 * _BITS) | ((i >> shift) & mask) << _BITS | (j >> shift) & mask
            )
            packed = _PACKED[place]
            found = found << 2 * _BITS | packed >> 2
            orientation = packed & 3
        else:
            for bit in reversed(range(take)):
                own = 2 * (i >> shift + bit & 1) + (j >> shift + bit & 1)
                place = _PLACE[orientation, own].astype(np.int64)
                found = found << 2 | place
                orientation = orientation ^ _TURN[place]
        done += take
    return found


def digits(keys: Numbers, level: int) -> Numbers:
    """The paths of keys: (..., level + 1) uint8, the face and then the children."""
    shifts = 2 * np.arange(level, -1, -1, dtype=np.int64)
    parts = np.asarray(keys, np.int64)[..., None] >> shifts
    parts[..., 1:] &= 3
    return parts.astype(np.uint8)


def path(lat: Numbers, lon: Numbers, level: int) -> Numbers:
    """`digits` of the cells that hold the points."""
    return digits(key(lat, lon, level), level)


def path_jax(lat: Float[Array, "*n"], lon: Float[Array, "*n"], level: int) -> Int[Array, "*n d"]:
    """`path` on the device, (..., level + 1) int32.

    In float64 (with x64 enabled) it equals NumPy's. In float32 a point nearer to the edge of
    its cell than rounding (some 0.5 m) may fall to the neighbour: at level 12, whose cells are
    about 2 km wide, fewer than one point in a thousand does.
    """
    _check_level(level)
    dtype = lat.dtype
    phi, theta = jnp.deg2rad(lat), jnp.deg2rad(lon)
    x, y, z = jnp.cos(phi) * jnp.cos(theta), jnp.cos(phi) * jnp.sin(theta), jnp.sin(phi)
    face = _face(jnp, x, y, z)
    u, v = _uv(jnp, face, x, y, z)
    one = jnp.asarray(1.0, dtype)
    depth = min(level, 23) if dtype == jnp.dtype("float32") else level
    i, j = (
        jnp.clip(jnp.floor(_st(jnp, w, one) * (1 << depth)), 0, (1 << depth) - 1).astype(jnp.int32)
        for w in (u, v)
    )
    if depth < level:
        i, j = i << (level - depth), j << (level - depth)
    places, turns = jnp.asarray(_PLACE, jnp.int32), jnp.asarray(_TURN, jnp.int32)
    orientation = face & 1
    found = [face]
    for bit in reversed(range(level)):
        place = places[orientation, 2 * (i >> bit & 1) + (j >> bit & 1)]
        found.append(place)
        orientation = orientation ^ turns[place]
    return jnp.stack(found, axis=-1)


def cell_id(keys: Numbers, level: int) -> Numbers:
    """S2's 64-bit ids (uint64) of keys."""
    keys = np.asarray(keys).astype(np.uint64)
    shift = np.uint64(2 * (LEVELS - level) + 1)
    return (keys << shift) | (np.uint64(1) << (shift - np.uint64(1)))


def token(keys: Numbers, level: int) -> Numbers:
    """S2's tokens: the id in hexadecimal without the zeros at its end."""
    ids = np.atleast_1d(cell_id(keys, level))
    return np.array([f"{int(i):016x}".rstrip("0") for i in ids]).reshape(np.shape(keys))


def text(key_: Numbers, level: int) -> str:
    """The path as the paper writes it: face and children without a separator."""
    return "".join(str(d) for d in digits(np.int64(key_), level))


def parse(path_text: str) -> tuple[int, int]:
    """(key, level) of a path, as in `20333`, `2/0333`, or with the NUL that old files end in.

    Raises:
        DataError: no path of a cell.

    Example:
        >>> parse("2/0333") == parse("20333")
        True
    """
    cleaned = path_text.rstrip("\0").strip().replace("/", "", 1)
    if not re.fullmatch(r"[0-5][0-3]{0,30}", cleaned):
        raise errors.DataError(
            f"{path_text[:40]!r} is no path of an S2 cell: a face 0-5 and at most 30 digits 0-3."
        )
    return int(cleaned[0]) * 4 ** (len(cleaned) - 1) + int(cleaned[1:] or "0", 4), len(cleaned) - 1


def xyz(lat: Numbers, lon: Numbers) -> Numbers:
    """Unit vectors (..., 3) of points."""
    phi, theta = np.deg2rad(lat), np.deg2rad(lon)
    return np.stack([np.cos(phi) * np.cos(theta), np.cos(phi) * np.sin(theta), np.sin(phi)], -1)


def latlon(points: Numbers) -> tuple[Numbers, Numbers]:
    """(lat, lon) in degrees of vectors (..., 3), which need not have length 1."""
    x, y, z = np.moveaxis(np.asarray(points, np.float64), -1, 0)
    return np.rad2deg(np.arctan2(z, np.hypot(x, y))), np.rad2deg(np.arctan2(y, x))


def square(keys: Numbers, level: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """(face, i, j) of cells, i and j counted in cells of their level."""
    keys, level = np.broadcast_arrays(np.asarray(keys, np.int64), np.asarray(level, np.int64))
    face = keys >> 2 * level
    i, j = np.zeros_like(face), np.zeros_like(face)
    orientation = face & 1
    for depth in range(int(level.max(initial=0))):
        inside = depth < level
        place = np.where(inside, keys >> 2 * np.maximum(level - 1 - depth, 0) & 3, 0)
        own = _IJ[orientation, place].astype(np.int64)
        i = np.where(inside, 2 * i + (own >> 1), i)
        j = np.where(inside, 2 * j + (own & 1), j)
        orientation = np.where(inside, orientation ^ _TURN[place], orientation)
    return face, i, j


def corners(keys: Numbers, level: Numbers) -> Numbers:
    """Unit vectors (..., 4, 3) of the corners, counter-clockwise seen from outside."""
    face, i, j = square(keys, level)
    scale = 0.5 ** np.asarray(level, np.float64)
    at = [(i, j), (i + 1, j), (i + 1, j + 1), (i, j + 1)]
    return np.stack([_point(face, a * scale, b * scale) for a, b in at], axis=-2)


def edge_points(key_: Numbers, level: int, per_edge: int) -> Numbers:
    """Unit vectors (4 * per_edge, 3) along the border of one cell, counter-clockwise.

    An edge is an arc of a great circle; with enough points, straight lines between their
    latitudes and longitudes follow it.
    """
    four = corners(key_, level)
    t = np.arange(per_edge)[:, None] / per_edge
    # In (u, v) an edge is a straight line, and so it is between its corners' vectors.
    return np.concatenate([(1 - t) * four[n] + t * four[(n + 1) % 4] for n in range(4)])


def centre(keys: Numbers, level: Numbers) -> Numbers:
    """Unit vectors (..., 3) of the centres, which are those of (s, t) as in S2."""
    face, i, j = square(keys, level)
    scale = 0.5 ** np.asarray(level, np.float64)
    return _point(face, (i + 0.5) * scale, (j + 0.5) * scale)


def area_km2(keys: Numbers, level: Numbers) -> Numbers:
    """Exact areas in km^2 on a sphere of the Earth's mean radius."""
    a, b, c, d = np.moveaxis(corners(keys, level), -2, 0)
    return (_triangle(a, b, c) + _triangle(a, c, d)) * EARTH_KM**2


def _triangle(a, b, c):
    """Area on the unit sphere [van Oosterom & Strackee 1983]."""
    triple = np.einsum("...i,...i->...", a, np.cross(b - a, c - a))  # of b and c it cancels
    dots = [np.einsum("...i,...i->...", p, q) for p, q in ((a, b), (b, c), (c, a))]
    return 2 * np.abs(np.arctan2(triple, 1 + dots[0] + dots[1] + dots[2]))


def _check_level(level):
    if not 0 <= level <= LEVELS:
        raise errors.ConfigError(f"an S2 level is between 0 and {LEVELS}, got {level}.")


def check_points(lat, lon) -> tuple[Numbers, Numbers]:
    """The coordinates as float64, if they are on the globe.

    Raises:
        DataError: else.
    """
    lat, lon = np.asarray(lat, np.float64), np.asarray(lon, np.float64)
    if lat.size and not (np.isfinite(lat).all() and np.isfinite(lon).all()):
        raise errors.DataError("a coordinate is not finite; drop rows without coordinates.")
    if lat.size and (np.abs(lat).max() > 90 or np.abs(lon).max() > 360):
        raise errors.DataError(
            "latitudes are from -90 to 90 and longitudes from -180 to 180 degrees, but there is"
            f" a latitude {lat.flat[np.abs(lat).argmax()]:g} and a longitude"
            f" {lon.flat[np.abs(lon).argmax()]:g}."
        )
    return lat, lon


def _face_ij(lat, lon):
    lat, lon = check_points(lat, lon)
    phi, theta = lat * (np.pi / 180), lon * (np.pi / 180)
    cos = np.cos(phi)
    x, y, z = np.cos(theta) * cos, np.sin(theta) * cos, np.sin(phi)
    face = _face(np, x, y, z)
    u, v = _uv(np, face, x, y, z)
    limit = (1 << LEVELS) - 1
    i, j = (
        np.clip(np.floor(_st(np, w, 1.0) * (1 << LEVELS)), 0, limit).astype(np.int64)
        for w in (u, v)
    )
    return face, i, j


def _face(xp, x, y, z):
    """The axis of the largest component; 3 more where it is negative."""
    ax, ay, az = xp.abs(x), xp.abs(y), xp.abs(z)
    first = (ax > ay) & (ax > az)
    second = ~first & (ay > az)
    axis = xp.where(first, 0, xp.where(second, 1, 2)).astype(xp.int32)
    component = xp.where(first, x, xp.where(second, y, z))
    return axis + 3 * (component < 0).astype(xp.int32)


def _uv(xp, face, x, y, z):
    """Gnomonic coordinates on the face."""
    axis = face % 3
    up = face < 3
    first, second = axis == 0, axis == 1
    w = xp.where(first, x, xp.where(second, y, z))
    # faces 0: (y, z)/x   1: (-x, z)/y   2: (-x, -y)/z   3: (z, y)/x   4: (z, -x)/y   5: (-y, -x)/z
    a = xp.where(first, y, -x)
    b = xp.where(axis == 2, -y, z)
    u, v = xp.where(up, a, b), xp.where(up, b, a)
    return u / w, v / w


def _st(xp, u, one):
    """The quadratic projection."""
    root = xp.sqrt(one + 3 * xp.abs(u))
    return xp.where(u >= 0, root / 2, one - root / 2)


def _point(face, s, t):
    """Unit vectors of (s, t) on a face."""
    u, v = (np.where(w >= 0.5, (4 * w * w - 1) / 3, (1 - 4 * (1 - w) ** 2) / 3) for w in (s, t))
    one = np.ones_like(u)
    options = [
        (one, u, v),
        (-u, one, v),
        (-u, -v, one),
        (-one, -v, -u),
        (v, -one, -u),
        (v, u, -one),
    ]
    points = np.stack([np.stack(o, axis=-1) for o in options])
    index = np.broadcast_to(face, u.shape)
    points = np.take_along_axis(points, index[None, ..., None], axis=0)[0]
    return points / np.linalg.norm(points, axis=-1, keepdims=True)
