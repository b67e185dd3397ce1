"""From a posterior over cells to answers: a point, nested cells, a place."""

from typing import NamedTuple

import numpy as np

from fl_jax.geocoding import s2, sphere
from fl_jax.geocoding.cells import Partition, ancestors

LEAST = 1e-5  # mass of a cell below which point estimates leave it out
CELLS = 64  # cells that point estimates look at, the heaviest
NEAR_KM, FAR_KM = 30.0, 200.0  # a point is worth the more, the nearer it may be to the truth
NAMED = (
    1.5  # what a place that the text names is worth beside another point; of 1 to 3, by dev items
)


class Cells(NamedTuple):
    """A proper distribution over disjoint cells, the heaviest first."""

    node: np.ndarray  # (cells,) int32
    mass: np.ndarray  # (cells,) sums to 1


def distribution(logs: np.ndarray, stopped: np.ndarray) -> Cells:
    """The cells on which a posterior's mass lies: leaves, and inner ones not expanded.

    Args:
        logs: (nodes,) log p of one text.
        stopped: (nodes,) bool.
    """
    node = np.flatnonzero(stopped)
    mass = np.exp(logs[node].astype(np.float64))
    order = np.argsort(-mass, kind="stable")
    return Cells(node[order].astype(np.int32), mass[order] / mass.sum())


def nested(partition: Partition, logs: np.ndarray) -> list[tuple[int, float]]:
    """(node, p) from the face down to the likeliest of all leaves that were reached.

    The probability of each is the posterior mass of all that lies in it.
    """
    leaf = partition.leaves[np.argmax(logs[partition.leaves])]
    return [(node, float(np.exp(logs[node]))) for node in ancestors(partition, leaf)]


def median(partition: Partition, cells: Cells) -> np.ndarray:
    """Unit vector of the geometric median: the least expected distance."""
    node, mass = cells.node[:CELLS], cells.mass[:CELLS]
    keep = mass >= LEAST
    return sphere.geometric_median(partition.mean[node[keep]], mass[keep], iterations=15)


class Choice(NamedTuple):
    """The point that is answered."""

    point: np.ndarray  # (3,)
    spot: int  # which of the spots it is, -1 if none


def choose(
    partition: Partition,
    cells: Cells,
    spots: np.ndarray,
    pointer: np.ndarray,
    *,
    snap: bool = True,
) -> Choice:
    """The point that is worth most under the posterior, among spots, means of cells, the median.

    The truth is taken to be spot s with probability `pointer[s]`, and else distributed as the
    cells are. A point at distance d from the truth is worth (e^(-d/30) + e^(-d/200)) / 2, d in
    km: near misses count, and so does the right neighbourhood. A spot is worth `NAMED` times as
    much: what is missing to certainty is mass on cells around it as well.

    Args:
        partition: of the cells.
        cells: the posterior.
        spots: (spots, 3) unit vectors of gazetteer places that the text names.
        pointer: (spots,) probabilities.
        snap: False leaves the spots out.
    """
    node, mass = cells.node[:CELLS], cells.mass[:CELLS]
    centre = median(partition, cells)
    means = partition.mean[node]
    if not snap:
        return Choice(centre, -1)
    rest = max(1.0 - pointer.sum(), 0.0)
    truth = np.concatenate([spots, means])
    weight = np.concatenate([pointer, rest * mass])
    options = np.concatenate([spots, means[:16], centre[None]])
    km = sphere.chord_km(options[:, None], truth[None])
    value = (np.exp(-km / NEAR_KM) + np.exp(-km / FAR_KM)) @ weight
    value[: len(spots)] *= NAMED
    best = int(np.argmax(value))
    return Choice(options[best], best if best < len(spots) else -1)


def coordinates(point: np.ndarray) -> tuple[float, float]:
    """(lat, lon) in degrees of one unit vector."""
    lat, lon = s2.latlon(point)
    return float(lat), float(lon)
