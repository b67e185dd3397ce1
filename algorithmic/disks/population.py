"""A population of thermochemical disks: drawn by Sobol, solved one by one, kept as they finish."""

import concurrent.futures
import dataclasses
import json
import os
import pathlib
import threading
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from algorithmic.disks import bdf, families, hand, model, radiation, readers, surface, table
from algorithmic.disks import network as networks
from algorithmic.disks.network import Network
from algorithmic.disks.radiation import Grid, Light, Tables
from algorithmic.disks.structure import Disk
from fl_jax.core import atomic, errors

CARBON, OXYGEN = 1.4e-4, 3.2e-4  # per hydrogen nucleus; oxygen follows C/O where it is drawn
ELEMENTS = ("H", "He", "C", "N", "O", "S", "Mg")
START = {"H": 5e-5, "H2": 0.5 * (1 - 5e-5), "He": 0.09, "N": 7.5e-5, "S+": 8e-8, "Mg+": 7e-9}


@dataclasses.dataclass(frozen=True)
class Population:
    """What is drawn and on which grid it is solved."""

    disks: int = 24  # how many
    family: str = "wide"  # which are drawn: wide (ours), or published (from memory)
    seed: int = 100  # of the Sobol scrambling; the authors' notebook uses 100 throughout
    radii: int = 16  # of the grid, logarithmic
    layers: int = 16  # of the grid in z/r, closer near the midplane
    r_min: float = 1.0  # [au]
    r_max: float = 400.0  # [au]
    top: float = 0.6  # highest z/r
    years: float = 1e6  # age of the chemistry [yr; the paper's population: 1e6, from memory]
    thinnest: float = 1e4  # hydrogen nuclei of a row, at least [cm^-3; the authors' notebook]
    hottest: float = 1000.0  # dust [K; the authors' notebook]
    network: str = "S2"  # S2: RATE22 with at most 2 heavy atoms and ices; hand: 33 reactions
    rtol: float = 1e-4
    atol: float = 1e-20


class Setting(NamedTuple):
    """A population's network, start and shielding."""

    network: Network
    tables: Tables


def setting(config: Population, folder: pathlib.Path | None) -> Setting:
    """The network that the config names.

    Args:
        config: the population.
        folder: the data folder; None makes the hand-typed network whatever the config says.
    """
    errors.one_of("network", config.network, ("S2", "S3", "hand"))
    if folder is None or config.network == "hand":
        tables = Tables.load(folder / "shielding" if folder else None)
        return Setting(hand.co_h2(), tables)
    gas = readers.read_network(folder / "networks" / "umist22.csv")
    gas = networks.subset(gas, ELEMENTS, int(config.network[1]))
    return Setting(surface.with_ices(gas), Tables.load(folder / "shielding"))


def draw(config: Population) -> list[dict[str, float]]:
    """Parameters of each disk of the population."""
    return families.draw(config.family, config.disks, config.seed)


def grid(config: Population, drawn: dict[str, float]) -> Grid:
    """The structure of one disk."""
    disk = Disk(
        **{k: drawn[k] for k in ("mass_star", "mass_gas", "r_c", "gamma", "q", "t_mid", "t_atm")},
        r_in=config.r_min,
    )
    light = Light(**{k: drawn[k] for k in ("chi_star", "l_x", "zeta0", "gas_to_small")})
    r = np.geomspace(config.r_min, config.r_max, config.radii)
    return radiation.make_grid(disk, light, r, radiation.heights(config.layers, config.top))


def start(network: Network, c_to_o: float | None = None) -> np.ndarray:
    """Molecular hydrogen and atoms; C+ 1.4e-4 and O 3.2e-4 or as C/O asks."""
    oxygen = OXYGEN if c_to_o is None else CARBON / c_to_o
    given = {**START, "C+": CARBON, "O": oxygen}
    return networks.abundances(network, {k: v for k, v in given.items() if k in network.species})


def rows(config: Population, number: int, drawn: dict, solved: model.Model, species) -> table.Table:
    """The cells of one disk that pass the cuts and converged."""
    g = solved.grid
    dense = g.density > config.thinnest  # thinner gas was solved because it shades
    keep = solved.converged & dense & (g.temperature < config.hottest)
    wide = lambda values: np.broadcast_to(values, g.density.shape)[keep]
    radius = g.r[:, None]
    columns = {
        "disk": np.full(int(keep.sum()), number),
        "radius": wide(radius),
        "height": wide(radius * g.height[None]),
        "numberdens": g.density[keep],
        "temperature": g.temperature[keep],
        "uv": radiation.field(g)[keep],
        "ionization": g.zeta[keep],
        "av_up": g.av_up[keep],
        "av_star": g.av_star[keep],
        "column_up": g.up[keep],
        "column_star": g.star[keep],
    }
    counts = {
        "asked": int((solved.solved & dense).sum()),
        "not converged": int((solved.solved & dense & ~solved.converged).sum()),
        "too hot": int((solved.converged & dense & ~(g.temperature < config.hottest)).sum()),
    }
    meta = {"parameters": drawn, "cells": counts, "steps": int(solved.steps.sum())}
    return table.Table(columns, species, solved.x[keep], meta)


def _place(folder: pathlib.Path, number: int) -> pathlib.Path:
    return folder / f"disk-{number:04d}.npz"


def solve(
    config: Population, ready: Setting, folder: pathlib.Path, number: int, drawn: dict[str, float]
) -> None:
    """Solves disk `number`, which was `drawn`, on one thread, and keeps it in `folder`."""
    found = model.solve(
        ready.network,
        start(ready.network, drawn["c_to_o"]),
        grid(config, drawn),
        years=config.years,
        tables=ready.tables,
        options=bdf.Options(rtol=config.rtol, atol=config.atol),
        threads=1,
        thinnest=min(model.THINNEST, config.thinnest),
    )
    rows(config, number, drawn, found, ready.network.species).save(_place(folder, number))


def make(
    config: Population,
    folder: pathlib.Path,
    *,
    data: pathlib.Path | None,
    workers: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> table.Table:
    """The whole table; disks that `folder` already holds are not solved again.

    Args:
        config: what to make.
        folder: where each disk is kept when it is done, and the whole at the end.
        data: the data folder with networks and shielding, or None.
        workers: disks at a time: on a CPU processes, one a core; elsewhere one a device.
        progress: called with (disks done, disks in all).

    Raises:
        DataError: `folder` holds disks of another config.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ready = setting(config, data)
    wanted = card(config, ready.network)
    stored = folder / "population.json"
    if stored.is_file():
        try:
            old = dict(json.loads(stored.read_text()))
        except (ValueError, TypeError):
            raise errors.DataError(
                f"{stored} does not say what disks are there; remove {folder}, or choose another."
            ) from None
        different = sorted(k for k in wanted if old.get(k) != wanted[k] and k != "disks")
        if different:
            raise errors.DataError(
                f"{folder} holds disks with another {', '.join(different)}; choose another folder."
            )
    with atomic.replace(stored) as fresh:
        fresh.write_text(json.dumps(wanted, indent=1) + "\n")
    drawn = draw(config)
    lock, finished = threading.Lock(), 0
    devices = jax.devices()
    on_cpu = devices[0].platform == "cpu"
    workers = workers or ((os.cpu_count() or 1) if on_cpu else len(devices))

    missing = [n for n in range(config.disks) if not _place(folder, n).is_file()]

    def count(done: int = 1) -> None:
        nonlocal finished
        finished += done
        progress(finished, config.disks)

    def one(number: int) -> None:
        with jax.default_device(devices[number % len(devices)]):
            solve(config, ready, folder, number, drawn[number])
        with lock:
            count()

    if len(missing) < config.disks:
        count(config.disks - len(missing))
    if on_cpu and len(devices) == 1 and min(workers, len(missing)) > 1:
        from algorithmic.disks import workers as processes

        processes.spread(config, folder, data, missing, min(workers, len(missing)), count)
    else:
        with concurrent.futures.ThreadPoolExecutor(workers) as pool:
            list(pool.map(one, missing))
    parts = [table.Table.load(_place(folder, number)) for number in range(config.disks)]
    counts = {k: sum(p.meta["cells"][k] for p in parts) for k in parts[0].meta["cells"]}
    whole = table.concatenate(parts)
    about = {
        **wanted,
        "rows": len(whole),
        "cells": counts,
        "steps": sum(p.meta["steps"] for p in parts),
        "parameters": {str(i): p.meta["parameters"] for i, p in enumerate(parts)},
    }
    return dataclasses.replace(whole, meta=about)


def card(config: Population, network: Network) -> dict:
    """The data card: where the rows come from and how they are to be read."""
    return {
        **dataclasses.asdict(config),
        "ranges": {k: list(v) for k, v in families.named(config.family).ranges.items()},
        "species": len(network.species),
        "reactions": len(network),
        "abundances": "n_s/n_H per hydrogen nucleus; values below 1e-20 are the integrator's noise",
        "density": "hydrogen nuclei per cm^3, rho/(1.4 m_H)",
        "uv": "dust-attenuated, star and interstellar, Draine fields",
        "ionization": "cosmic rays and X-rays, 1/s",
        "gas temperature": "equal to that of the dust",
        "solved": f"gas of more than {model.THINNEST:g} hydrogen nuclei per cm^3",
        "start": {**START, "C+": CARBON, "O": "C+/(C/O)"},
    }
