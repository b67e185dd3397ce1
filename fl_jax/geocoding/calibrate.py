"""Calibration: a temperature for each level, and masses that mean what they say."""

from typing import NamedTuple

import numpy as np

GRID = np.exp(np.linspace(np.log(0.4), np.log(4.0), 41))


class Calibration(NamedTuple):
    """What a held-out split says about a model's probabilities."""

    temperature: np.ndarray  # (depth,) float32, that scores of each level are divided by
    mass: np.ndarray  # (101,) the mass a region needs so that it holds the truth n % of the time
    pointer: float  # temperature of the pointer
    abstain: float  # probability of being within 161 km below which no place is answered

    def region_mass(self, wanted: float) -> float:
        """The mass of the region that holds the truth with the wanted probability."""
        return float(np.interp(wanted, np.linspace(0, 1, len(self.mass)), self.mass))


def identity(depth: int) -> Calibration:
    """No calibration."""
    return Calibration(np.ones(depth, np.float32), np.linspace(0, 1, 101), 1.0, 0.0)


def temperatures(logs: list[np.ndarray], true: list[np.ndarray]) -> np.ndarray:
    """The temperature of each level that gives held-out steps the least negative log likelihood.

    Args:
        logs: for each level, (items, 6) log p of the children of the true node; a child that
            does not exist has a very negative one.
        true: for each level, (items,) which child is right.
    """
    found = np.ones(len(logs), np.float32)
    for level, (own, right) in enumerate(zip(logs, true, strict=True)):
        if len(right) < 20:
            continue
        losses = []
        for t in GRID:
            scaled = own / t
            sums = np.logaddexp.reduce(scaled, axis=1)
            losses.append(np.mean(sums - scaled[np.arange(len(right)), right]))
        found[level] = GRID[int(np.argmin(losses))]
    return found


def masses(mass_above: np.ndarray) -> np.ndarray:
    """The masses for `Calibration.mass`: quantiles of the mass before the truth [conformal].

    Args:
        mass_above: of held-out items, from `estimate.mass_above`.
    """
    grid = np.linspace(0, 1, 101)
    found = np.quantile(mass_above, grid)
    found[0], found[-1] = 0.0, 1.0
    return np.maximum.accumulate(found)


def abstention(confidence: np.ndarray, right: np.ndarray, *, worth: float = 0.1) -> float:
    """The confidence below which answers are right too seldom to be given.

    Args:
        confidence: (items,) of held-out items.
        right: (items,) whether their answers are.
        worth: share of right answers from which on they are worth giving.

    Returns:
        the largest threshold such that at most so many of the answers below it are right; 0
        where even the least certain ones are right more often.
    """
    order = np.argsort(confidence, kind="stable")
    share = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    few = np.flatnonzero(share <= worth)
    return float(confidence[order[few[-1]]]) if len(few) else 0.0
