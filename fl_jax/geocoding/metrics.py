"""How good a geocoder is: distances, cells, probabilities."""

from collections.abc import Sequence

import numpy as np

from fl_jax.core import errors
from fl_jax.geocoding import sphere

RADII_KM = (1, 25, 100, 161, 200, 750, 2500)


def distances(km: np.ndarray, radii: Sequence[float] = RADII_KM) -> dict[str, float]:
    """Median, mean, accuracy within radii, and AUC of errors in kilometres.

    Accuracy@r is the share with ln(1 + d) < ln r, AUC the area under the sorted ln(1 + d) over
    ln(20039), 0 best and 1 worst [Gritta et al. 2018, and the code of the Pragmatic Guide].

    Example:
        >>> distances(np.full(5, 20038.0))["auc"]
        1.0
    """
    if not len(km):
        raise errors.DataError("there is no error to measure; give at least one distance.")
    if not np.isfinite(km).all():  # it would count as far away and leave no median
        raise errors.DataError("a distance is not finite; say how far what was not found counts.")
    ordered = np.log1p(np.sort(np.asarray(km, np.float64)))
    found = {"median": float(np.median(km)), "mean": float(np.mean(km))}
    found |= {
        f"acc@{r}": float(np.mean(ordered < np.log(max(r, 1 + 1e-9)))) for r in radii if r > 1
    }
    found["acc@1"] = float(np.mean(np.asarray(km) < 1))
    area = np.trapezoid(ordered) if len(ordered) > 1 else ordered[0]
    found["auc"] = float(area / (np.log(sphere.HALF_TURN_KM) * max(len(ordered) - 1, 1)))
    return found


def cells(predicted: Sequence[str], true: Sequence[str]) -> dict[str, float]:
    """Flat accuracy, and precision, recall and F over a cell and its ancestors.

    hP = sum |P and T| / sum |P|, hR = sum |P and T| / sum |T| [Solaz & Shalumov 2023]; the
    paper's hierarchy accuracy is hR.

    Example:
        >>> cells(["20331203"], ["20331122"])["hR"]
        0.625
    """
    common = [_common(p, t) for p, t in zip(predicted, true, strict=True)]
    shared = sum(common)
    precision = shared / max(sum(map(len, predicted)), 1)
    recall = shared / max(sum(map(len, true)), 1)
    total = precision + recall
    return {
        "flat": sum(p == t for p, t in zip(predicted, true, strict=True)) / max(len(true), 1),
        "hP": precision,
        "hR": recall,
        "hF": 2 * precision * recall / total if total else 0.0,
    }


def coverage(mass_before: np.ndarray, mass: float) -> float:
    """Share of items whose true place lies in their region of a mass.

    Args:
        mass_before: for each item, `density.mass_before` of the true place.
        mass: that the regions are asked for.
    """
    return float(np.mean((mass_before < mass) | (mass_before == 0)))


def reliability(
    confidence: np.ndarray, right: np.ndarray, bins: int = 10
) -> list[tuple[float, float, int]]:
    """(mean confidence, share that is right, items) of each of the equal-width bins with items.

    Args:
        confidence: (items,) from 0 to 1.
        right: (items,) bool.
        bins: how many.

    Example:
        >>> reliability(np.array([0.25, 0.75, 0.75]), np.array([False, True, False]), 2)
        [(0.25, 0.0, 1), (0.75, 0.5, 2)]
    """
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    every = (place == b for b in np.unique(place))
    return [(float(confidence[o].mean()), float(right[o].mean()), int(o.sum())) for o in every]


def calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error: mean |accuracy - confidence| over equal-width bins."""
    rows = reliability(confidence, right, bins)
    return sum(n * abs(found - said) for said, found, n in rows) / len(confidence)


def interval(
    values: np.ndarray, statistic, *, draws: int = 1000, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Bootstrap percentile interval of a statistic of the items."""
    rng = np.random.default_rng(seed)
    found = [statistic(values[rng.integers(0, len(values), len(values))]) for _ in range(draws)]
    tail = (1 - level) / 2
    low, high = np.quantile(found, [tail, 1 - tail])
    return float(low), float(high)


def _common(a: str, b: str) -> int:
    n = 0
    while n < min(len(a), len(b)) and a[n] == b[n]:
        n += 1
    return n
