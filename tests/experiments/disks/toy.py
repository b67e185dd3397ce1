"""A population without chemistry."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from algorithmic.disks import population, table


def cells(config, log_abundances: Sequence[float]) -> table.Table:
    """Disks of the population on a config's grid, all cells of each with the same CO."""
    asked = population.Population(
        disks=len(log_abundances), radii=config.radii, layers=config.layers
    )
    drawn, parts = population.draw(asked), []
    for number, (one, log_abundance) in enumerate(zip(drawn, log_abundances, strict=True)):
        grid = population.grid(asked, one)
        wide = lambda values, grid=grid: np.broadcast_to(values, grid.density.shape).ravel().copy()
        radius = grid.r[:, None]
        columns = {
            "disk": np.full(grid.density.size, number),
            "radius": wide(radius),
            "height": wide(radius * grid.height[None]),
            "numberdens": grid.density.ravel(),
            "temperature": grid.temperature.ravel(),
            "uv": wide(1.0) + 0.0,
            "ionization": grid.zeta.ravel(),
        }
        x = np.full((grid.density.size, 1), 10.0**log_abundance)
        parts.append(table.Table(columns, ("CO",), x, {}))
    meta = {"parameters": {str(i): one for i, one in enumerate(drawn)}}
    return dataclasses.replace(table.concatenate(parts), meta=meta)
