"""Calibration: a temperature for each level, and masses that mean what they say."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fl_jax.geocoding import cells, density, estimate, examples, s2, sphere, words

RIGHT_KM = 161.0  # an answer so near to the truth is right
SAYS, STEPS = 10.0, 50  # texts that the spread's default counts for; steps towards the best
GRID = np.exp(np.linspace(np.log(0.4), np.log(4.0), 41))


class Calibration(NamedTuple):
    """What a held-out split says about a model's probabilities."""

    temperature: np.ndarray  # (depth,) float32, that scores of each level are divided by
    mass: np.ndarray  # (101,) what to ask `density.region` for so that n % hold the truth
    pointer: float  # temperature of the pointer
    abstain: float  # probability of being within 161 km below which no place is answered
    spread: np.ndarray  # (KINDS, scales) how the truth lies around a point, of `density.spread`

    def region_mass(self, wanted: float) -> float:
        """The mass to ask `density.region` for: so many of its regions hold the truth.

        No region is less than one cell: a wanted probability below that of the densest cell to
        hold the truth gives 0, which is that cell alone.
        """
        return float(np.interp(wanted, np.linspace(0, 1, len(self.mass)), self.mass))


def identity(depth: int) -> Calibration:
    """No calibration."""
    ones = np.ones(depth, np.float32)
    return Calibration(ones, np.linspace(0, 1, 101), 1.0, 0.0, np.array(density.SPREAD))


def fit(geocoder, texts: Sequence[str], lat: np.ndarray, lon: np.ndarray) -> Calibration:
    """Temperatures of levels and pointer; with them the spread, the masses and the abstention.

    Args:
        geocoder: a `geocoder.Geocoder`, which is left with what was found.
        texts: none of which it was trained on; a thousand give coverages to 1.3 points.
        lat, lon: (texts,) where they are, in degrees.

    Raises:
        DataError: no texts, or another number of places.
    """
    texts = words.placed("a calibration", texts, lat, lon)
    partition = geocoder.partition
    node, truth = cells.deepest(partition, lat, lon), s2.xyz(lat, lon)
    made = identity(partition.depth)
    geocoder.calibrate(made)
    found = geocoder.infer(texts, 0.0)
    made = made._replace(
        temperature=temperatures(*_steps(partition, found, node)), pointer=_pointer(found, truth)
    )
    geocoder.calibrate(made)
    found = geocoder.infer(texts, 0.0)
    made = made._replace(spread=spread(geocoder, found, lat, lon))
    geocoder.calibrate(made)
    made = made._replace(mass=masses(masses_before(geocoder, found, lat, lon)))
    geocoder.calibrate(made)
    pairs = zip(texts, found, strict=True)
    answers = [geocoder.answer(text, own, abstain=False) for text, own in pairs]
    points = s2.xyz(np.array([a.lat for a in answers]), np.array([a.lon for a in answers]))
    near = np.array([a.confidence for a in answers])
    right = sphere.chord_km(points, truth) < RIGHT_KM
    made = made._replace(abstain=abstention(near, right))
    geocoder.calibrate(made)
    return made


def spread(geocoder, found: Sequence, lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    """The weights of the scales around points that make held-out places likeliest.

    Found by expectation maximisation, from `density.SPREAD` on, which counts as `SAYS` texts of
    each kind of point.

    Args:
        geocoder: that the texts were asked of.
        found: what `Geocoder.infer` says of the texts.
        lat, lon: (texts,) where they are.
    """
    grid, partition = geocoder.grid, geocoder.partition
    truth, keys = s2.xyz(lat, lon), s2.key(lat, lon, s2.LEVELS)
    scales = np.array(density.SCALES_KM)
    rest, around = np.zeros(len(found)), np.zeros((len(found), density.KINDS, len(scales)))
    for n, (own, key) in enumerate(zip(found, keys, strict=True)):
        cell = density.holding(grid, key)
        if cell < 0:
            continue
        cells_of = estimate.distribution(own.logs, own.stopped)
        mass = cells.leaf_mass(partition, cells_of.node, cells_of.mass)[grid.leaf[cell]]
        points = own.pointed
        rest[n] = density.left(points) * mass * grid.share[cell] / grid.area[cell]
        km = sphere.chord_km(points.at, truth[n])[:, None]
        each = points.p[:, None] * np.exp(-km / scales) / (2 * np.pi * scales**2)
        np.add.at(around[n], points.kind, each)
    weights = np.array(density.SPREAD)
    prior = SAYS * weights
    for _ in range(STEPS):
        own = around * weights
        total = rest + own.sum((1, 2))
        counts = prior + (own / np.maximum(total, 1e-300)[:, None, None]).sum(0)
        weights = counts / counts.sum(1, keepdims=True)
    return weights


def masses_before(geocoder, found: Sequence, lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    """`density.mass_before` of each text.

    Args:
        geocoder: that the texts were asked of.
        found: what `Geocoder.infer` says of the texts.
        lat, lon: (texts,) where they are.
    """
    pairs = zip(found, s2.key(lat, lon, s2.LEVELS), strict=True)
    return np.array([density.mass_before(spread_of(geocoder, own), key) for own, key in pairs])


def spread_of(geocoder, own) -> density.Density:
    """The density of a text, of what `Geocoder.infer` says of it."""
    return geocoder.inside(estimate.distribution(own.logs, own.stopped), own.pointed)


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


def masses(mass_before: np.ndarray) -> np.ndarray:
    """The masses for `Calibration.mass`: quantiles of the mass before the truth [conformal].

    Args:
        mass_before: of held-out items, from `density.mass_before`.
    """
    found = np.quantile(mass_before, np.linspace(0, 1, 101))
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


def _steps(partition, found, node):
    """(log p of the children of true nodes, which child is right), by level."""
    logs, right = ([[] for _ in range(partition.depth)] for _ in range(2))
    for own, deepest in zip(found, node, strict=True):
        way = [0, *cells.ancestors(partition, deepest)]
        for depth, (above, below) in enumerate(itertools.pairwise(way)):
            children = partition.children[above]
            steps = own.logs[np.maximum(children, 0)] - own.logs[above]
            logs[depth].append(np.where(children >= 0, steps, -1e9))
            right[depth].append(int(np.flatnonzero(children == below)[0]))
    return [np.array(a).reshape(-1, 6) for a in logs], [np.array(a, int) for a in right]


def _pointer(found, truth) -> float:
    """The temperature of the pointer with the least loss."""
    logs, right = [], []
    for own, point in zip(found, truth, strict=True):
        p = np.append(own.pointer, max(1 - own.pointer.sum(), 1e-12))
        near = sphere.chord_km(own.points, point) < examples.NEAR_KM
        logs.append(np.log(np.maximum(p, 1e-30)))
        right.append(np.append(near, not near.any()))
    losses = []
    for t in GRID:
        pairs = zip(logs, right, strict=True)
        total = [np.logaddexp.reduce(a / t) - np.logaddexp.reduce(a[r] / t) for a, r in pairs]
        losses.append(np.mean(total))
    return float(GRID[int(np.argmin(losses))])
