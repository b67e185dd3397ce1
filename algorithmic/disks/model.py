"""One disk, chemically: wavefronts of cells, each behind those that shade it."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from algorithmic.disks import bdf, chemistry, radiation
from algorithmic.disks.network import Network
from algorithmic.disks.radiation import SHIELDED, Grid, Tables
from algorithmic.disks.rates import Settings
from fl_jax.core import errors

THINNEST = 1.0  # hydrogen nuclei [cm^-3]; thinner gas is neither solved nor in the light's way


class Model(NamedTuple):
    """Abundances on the grid."""

    grid: Grid
    x: np.ndarray  # (I, J, N) per hydrogen nucleus
    converged: np.ndarray  # (I, J) bool
    solved: np.ndarray  # (I, J) bool: dense enough to be asked for at all
    steps: np.ndarray  # (I, J)


def solve(
    network: Network,
    start: np.ndarray,
    grid: Grid,
    *,
    years: float = 1e6,
    tables: Tables | None = None,
    settings: Settings = Settings(),
    options: bdf.Options = bdf.Options(rtol=1e-4, atol=1e-18),
    threads: int | None = None,
    lanes: int | None = None,
    thinnest: float = THINNEST,
    progress: Callable[[int], None] = lambda cells: None,
) -> Model:
    """The disk's chemistry after `years`.

    Args:
        network: gas and ices.
        start: initial abundances (N,), the same in all cells.
        grid: of the disk.
        years: age [yr].
        tables: shielding; None is `Tables.load()`, which needs no files and holds none of N2.
        settings: rate forms.
        options: tolerances.
        threads: see `chemistry.integrate`.
        lanes: see `chemistry.integrate`.
        thinnest: hydrogen nuclei below which a cell is left at `start` and shades none [cm^-3].
            Keep it low: the gas below lacks the shade of what is left out.
        progress: called with the number of cells of each finished wavefront.

    Raises:
        ConfigError: a network with N2 and no tables; what `chemistry.integrate` refuses.
    """
    if tables is None:
        if "N2" in network.species:
            raise errors.ConfigError(
                "the network has N2, whose shielding needs the published tables; give"
                " tables=Tables.load(folder), or Tables.load() to leave N2 without shielding."
            )
        tables = Tables.load()
    radii, layers = grid.density.shape
    x = np.broadcast_to(start, (radii, layers, len(start))).copy()
    converged = np.zeros((radii, layers), bool)
    solved = grid.density > thinnest
    steps = np.zeros((radii, layers), np.int64)
    shade = Shade(network, grid)
    for front in range(radii + layers - 1):
        i = np.arange(max(0, front - layers + 1), min(radii, front + 1))
        j = front - i
        wanted = solved[i, j]
        up, star = ({k: v[wanted] for k, v in way.items()} for way in shade.columns(i, j))
        if wanted.any():
            cells = radiation.conditions(grid, i[wanted], j[wanted], up, star, tables)
            found = chemistry.integrate(
                network,
                start,
                cells,
                [years],
                settings=settings,
                options=options,
                threads=threads,
                lanes=lanes,
            )
            x[i[wanted], j[wanted]] = np.where(
                found.converged[:, None], found.x[:, 0], np.asarray(start)[None]
            )
            converged[i[wanted], j[wanted]] = found.converged
            steps[i[wanted], j[wanted]] = found.steps
        shade.add(i[wanted], j[wanted], x)
        progress(int(wanted.sum()))
    return Model(grid, x, converged, solved, steps)


class Shade:
    """Columns of the shielding molecules above each cell and towards the star.

    A step of a column takes the abundance of the cell nearer to the light, which is known, and
    the hydrogen between both cells. Cells that were not added hold no molecules.
    """

    def __init__(self, network: Network, grid: Grid):
        self.places = {k: network.species.index(k) for k in SHIELDED if k in network.species}
        self.grid = grid
        shape = (*grid.density.shape, len(SHIELDED))
        self.up, self.star = np.zeros(shape), np.zeros(shape)
        self.x = np.zeros(shape)
        self.down = np.diff(grid.up, axis=1, prepend=0.0)  # hydrogen between j - 1 and j
        self.out = np.diff(grid.star, axis=0, prepend=0.0)

    def columns(self, i, j):
        """Two dictionaries by molecule, above and towards the star (n,) [cm^-2]."""
        at = lambda values: {k: values[i, j, m] for m, k in enumerate(SHIELDED)}
        above = np.where((j > 0)[:, None], self.up[i, j - 1], 0.0)
        share = np.where((j > 0)[:, None], self.x[i, j - 1], 0.0)
        self.up[i, j] = above + self.down[i, j][:, None] * share
        inner = np.where((i > 0)[:, None], self.star[i - 1, j], 0.0)
        share = np.where((i > 0)[:, None], self.x[i - 1, j], 0.0)
        self.star[i, j] = inner + self.out[i, j][:, None] * share
        return at(self.up), at(self.star)

    def add(self, i, j, x) -> None:
        """Takes up the abundances of finished cells of a wavefront."""
        for m, name in enumerate(SHIELDED):
            if name in self.places:
                self.x[i, j, m] = np.maximum(x[i, j, self.places[name]], 0.0)
