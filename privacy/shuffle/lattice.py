"""E[(G_1 + ... + G_n)_+] of independent copies of a law of few atoms, certified from both sides.

Upper: an atom's probability is moved to the two lattice points beside it so that its mean stays;
that enlarges the law, and the law of the sum, in convex order. Lower: for any event,
E[S_+] >= E[S; event]; the event is T >= t, where T adds up the atoms rounded to the lattice, and

    E[S; T >= t] = n sum_k E[G; round(G) = k] Pr[T_(n-1) >= t - k].

Both err with the square of the step. The (n-1)- and n-fold sums are powers of an FFT of the law
tilted by e^(theta G) so that 0 is its centre: a value of 1e-30 has as many digits as one of 1e-3.
"""

import math
from typing import NamedTuple

import numpy as np

from privacy.accounting import errors

FAR = 46.0  # the tilted sum is followed to e^-46 on either side
LONGEST = 1 << 20  # lattice points


class Law(NamedTuple):
    """Atoms and their probabilities. If they add up to less than 1, the rest ends the sum at 0."""

    points: np.ndarray
    masses: np.ndarray


class _Sum(NamedTuple):
    """Law of a sum on a lattice, tilted: Pr = weight e^(log_scale - tilt step index)."""

    index: np.ndarray  # lattice points of the window, ascending
    weight: np.ndarray
    error: float  # of each weight
    log_scale: float


def tilt(law: Law, n: int) -> float:
    """The theta > 0 under which the sum is centred at 0, or a small one where that is not > 0."""
    points, masses = law
    with np.errstate(divide="ignore"):
        logs = np.log(masses)

    def slope(t):
        at = logs + t * points
        return float(np.exp(at - at.max()) @ points)

    least = 0.3 / math.sqrt(n * max(float(masses @ points**2), 1e-300))
    while n * float(np.logaddexp.reduce(logs + least * points)) > 1:
        least /= 2  # far atoms: they would take over
    low, high = 0.0, max(1.0 / float(points.max()), least)
    for _ in range(60):
        if slope(high) > 0:
            break
        high *= 2
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return max(high, least)


def _sum(index: np.ndarray, masses: np.ndarray, n: int, theta: float, step: float) -> _Sum:
    """The n-fold sum of a law on the lattice, tilted by theta."""
    with np.errstate(divide="ignore"):
        logs = np.log(masses) + theta * step * index
    scale = float(np.logaddexp.reduce(logs))
    tilted = np.exp(logs - scale)
    centre = float(tilted @ index)
    variance = float(tilted @ (index - centre) ** 2)
    # Chernoff: beyond `up` above the centre, and `down` below it, there is at most e^-FAR
    away = index - centre
    up, down = (_reach(tilted, sign * away, n, variance) for sign in (1, -1))
    lo = math.floor(n * centre - down) - 1
    length = 1 << max(int(up + down) + 4, 2).bit_length()
    if length > LONGEST:
        raise errors.PrivacyError(f"n = {n} needs a lattice of {length} points: out of reach.")
    folded = np.zeros(length)
    np.add.at(folded, index.astype(np.int64) % length, tilted)
    spectrum = np.fft.rfft(folded)
    size = np.abs(spectrum)
    weight = np.fft.irfft(spectrum**n, length)
    weight = np.roll(weight, -(lo % length))
    # rounding of the transform, n times over in the power, and of the transform back
    unit = 4e-16 * (2 + math.log2(length))
    moved = 2 * float(np.sum(size ** (n - 1) * np.minimum(n * unit, size))) / length
    error = moved + unit * float(weight.max()) + 4 * math.exp(-FAR)
    return _Sum(lo + np.arange(length), weight, error, n * scale)


def _reach(masses, away, n, variance):
    """How far the sum of n such centred steps gets with probability e^-FAR: the best Chernoff."""
    spread = math.sqrt(max(n * variance, 1e-300))
    rates = np.geomspace(0.3 / spread, 60 / spread, 40)
    with np.errstate(divide="ignore"):
        logs = np.log(masses)[:, None] + away[:, None] * rates
    return float(np.min((n * np.logaddexp.reduce(logs, axis=0) + FAR) / rates))


def length(law: Law, n: int, theta: float, step: float) -> float:
    """Roughly how many lattice points a sum needs."""
    weights = law.masses * np.exp(theta * (law.points - law.points.max()))
    return 20 * math.sqrt(n * float(weights @ law.points**2) / float(weights.sum())) / step


def upper(law: Law, n: int, theta: float, step: float) -> float:
    """Upper bound of E[(G_1 + ... + G_n)_+]."""
    if law.points.max() <= 0:
        return 0.0
    below = np.floor(law.points / step)
    share = np.clip(law.points / step - below, 0.0, 1.0)
    first = int(below.min())
    if below.max() - first > LONGEST:
        raise errors.PrivacyError("the atoms lie too far apart for a lattice: out of reach.")
    spread = np.zeros(int(below.max()) - first + 2)
    at = (below - first).astype(int)
    np.add.at(spread, at, law.masses * (1 - share))
    np.add.at(spread, at + 1, law.masses * share)
    kept = np.flatnonzero(spread)
    found = _sum((first + kept).astype(float), spread[kept], n, theta, step)
    positive = found.index > 0
    s = found.index[positive] * step
    made = (np.maximum(found.weight[positive], 0) + found.error) @ (s * np.exp(-theta * s))
    made += math.exp(-FAR) / (math.e * theta)  # beyond the window
    return math.exp(min(found.log_scale, 690.0)) * made * (1 + 1e-12 * (1 + n * 1e-3))


def lower(law: Law, n: int, theta: float, step: float) -> float:
    """Lower bound of E[(G_1 + ... + G_n)_+], by the best threshold."""
    if law.points.max() <= 0:
        return 0.0
    rounded = np.rint(law.points / step)
    kinds, kind = np.unique(rounded, return_inverse=True)
    masses = np.bincount(kind, law.masses, kinds.size)
    gains = np.bincount(kind, law.masses * law.points, kinds.size)
    if n == 1:
        return float(law.masses @ np.maximum(law.points, 0))
    found = _sum(kinds, masses, n - 1, theta, step)
    # T - S/step has this mean where S is about 0: there T >= t goes with S >= 0
    with np.errstate(divide="ignore"):
        logs = np.log(law.masses) + theta * law.points
    drift = n * float(np.exp(logs - np.logaddexp.reduce(logs)) @ (rounded - law.points / step))
    best = 0.0
    for t in np.rint(drift) + np.arange(-3, 5):
        starts = np.clip(t - kinds - found.index[0], 0, found.index.size).astype(int)
        base = int(starts.min())
        powers = np.exp(-theta * step * (found.index[base:] - t))
        tails = np.append(np.cumsum((found.weight[base:] * powers)[::-1])[::-1], 0.0)
        most = np.append(np.cumsum(powers[::-1])[::-1], 0.0)
        at = starts - base
        value = float(gains @ tails[at])
        value -= float(np.abs(gains) @ (found.error * most[at] + 1e-13 * tails[at]))
        best = max(best, value * math.exp(min(found.log_scale - theta * step * t, 600.0)))
    return n * best * (1 - 1e-12 * (1 + n * 1e-3))
