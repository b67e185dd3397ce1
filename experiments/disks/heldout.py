"""Line fluxes of disks that an emulator has not seen, from true and emulated abundances."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from algorithmic.disks import (
    forward,
    lamda,
    lines,
    population,
    radiation,
    structure,
    table,
    tracer,
)
from algorithmic.disks.table import Table
from fl_jax.data import sources

# Species, its LAMDA file or rotor, the line, and what its abundance is divided by: isotopes of
# carbon, spins of H2CO.
LINES = {
    "CO": ("13co", "2-1", 69.0),
    "CN": ("cn", "226.88", 1.0),
    "HCN": ("hcn", "3-2", 1.0),
    "HNC": ("hnc", "03-02", 1.0),
    "HCO+": ("hco+@xpol", "3-2", 1.0),
    "H2CO": ("ph2co-h2", "3_0_3-2_0_2", 4.0),
    "N2H+": ("n2h+@xpol", "3-2", 1.0),
    "CS": ("cs@lique", "5-4", 1.0),
    "C2H": ("c2h_h2_e", "262.00", 1.0),
}


def molecule(name: str) -> lamda.Molecule | None:
    """From the data folder; without it carbon monoxide from its constants, and no others."""
    folder = sources.folder("astrochem")
    if folder is not None:
        return lamda.read(folder / "lamda" / f"{name}.dat")
    rotor = {"co": "CO", "13co": "13CO", "c18o": "C18O"}.get(name)
    return lamda.rotor(rotor) if rotor else None


def axes(config) -> tuple[np.ndarray, np.ndarray]:
    """(r [au], z/r from the top) of the population's grid."""
    asked = population.Population(radii=config.radii, layers=config.layers)
    r = np.geomspace(asked.r_min, asked.r_max, asked.radii)
    return r, radiation.heights(asked.layers, asked.top)


def setup(config, file: str, label: str, species: str, ratio: float) -> forward.Setup | None:
    """A line of the population's disks, face-on at 150 pc; None without its molecule."""
    found = molecule(file)
    if found is None:
        return None
    return forward.Setup(
        found,
        lines.line_of(found, label),
        species,
        ratio,
        {},
        {},
        tracer.View(0.0, 0.0, 150.0),
        tracer.Physics(),
        np.linspace(-3.0, 3.0, 41),
        *axes(config),
        rays=(24, 1),
        samples=24,
    )


def place(rows: Table, config) -> tuple[np.ndarray, np.ndarray]:
    """(i, j): where on the disks' grid the rows stand; j from the top."""
    r, height = axes(config)
    at = lambda axis, values: np.abs(axis[None] - values[:, None]).argmin(axis=1)
    ratio = rows.columns["height"] / rows.columns["radius"]
    return at(r, rows.columns["radius"]), at(height, ratio)


def maps(rows: Table, config, log_abundance: np.ndarray) -> np.ndarray:
    """(I, J, ...) of one disk's rows (rows, ...); cells without a row are empty."""
    i, j = place(rows, config)
    shape = (config.radii, config.layers, *log_abundance.shape[1:])
    out = np.full(shape, np.log10(table.FLOOR))
    out[i, j] = log_abundance
    return out


def residuals(config, test: Table, truth: np.ndarray, found: np.ndarray) -> np.ndarray:
    """(disks, I, J) errors of the first species on the grid of each test disk [dex]; 0 off it."""
    out = []
    for disk in np.unique(test.columns["disk"]):
        at = test.columns["disk"] == disk
        rows = test.select(at)
        both = (maps(rows, config, values[at][:, 0]) for values in (found, truth))
        out.append(np.subtract(*both))
    return np.array(out)


class Fluxes(NamedTuple):
    """Line fluxes [Jy km/s]."""

    species: tuple[str, ...]  # those with a line
    lines: tuple[str, ...]
    truth: np.ndarray  # (disks, species)
    found: dict[str, np.ndarray]  # the same by emulator


def fluxes(config, test: Table, species, predictions: dict[str, np.ndarray]) -> Fluxes:
    """Of every test disk.

    Args:
        config: of the experiment.
        test: rows of the test disks.
        species: of the predictions' columns.
        predictions: by emulator (rows, species) log10 abundances.
    """
    drawn = test.meta["parameters"]
    disks = np.unique(test.columns["disk"])
    everything = {"truth": test.targets(species), **predictions}
    found = {name: [] for name in everything}
    names, labels = [], []
    for s in species:
        if s not in LINES:
            continue
        file, label, ratio = LINES[s]
        kept = setup(config, file, label, s, ratio)
        if kept is None:
            continue
        names.append(s)
        labels.append(f"{file.split('@')[0]} {kept.line.frequency / 1e9:.1f} GHz")
        flux = flux_of(kept)
        column = species.index(s)
        for name, values in everything.items():
            row = []
            for disk in disks:
                at = test.columns["disk"] == disk
                x = maps(test.select(at), config, values[at][:, column])
                row.append(flux(parameters(drawn[str(disk)]), x.ravel()))
            found[name].append(row)
    if not names:
        empty = np.zeros((len(disks), 0))
        return Fluxes((), (), empty, dict.fromkeys(predictions, empty))
    both = {name: np.array(values).T for name, values in found.items()}
    return Fluxes(tuple(names), tuple(labels), both.pop("truth"), both)


def flux_of(kept: forward.Setup):
    """(parameters, log10 abundance) -> flux, compiled once."""
    with jax.enable_x64(True):
        run = jax.jit(lambda values, x: forward.line_flux(kept, values, x))

    def call(values, x) -> float:
        with jax.enable_x64(True):
            return float(run(jax.tree.map(jnp.float64, values), jnp.asarray(x)))

    return call


def parameters(drawn: dict[str, float]) -> dict[str, float]:
    """Those of a drawn disk that its structure and light know."""
    known = (*structure.Disk._fields, *radiation.Light._fields)
    return {k: v for k, v in drawn.items() if k in known}


def errors_dex(found: Fluxes, name: str) -> np.ndarray:
    """(species,) root mean square of log10 of the fluxes' ratio over the test disks."""
    floor = 1e-12  # [Jy km/s]
    log = lambda flux: np.log10(np.maximum(flux, floor))
    return np.sqrt(np.mean((log(found.found[name]) - log(found.truth)) ** 2, axis=0))


def relative_error(found: Fluxes, name: str, species: str) -> float:
    """Root mean square of found/true - 1 of one species' line; 0 where it has none."""
    if species not in found.species:
        return 0.0
    s = found.species.index(species)
    return float(np.sqrt(np.mean((found.found[name][:, s] / found.truth[:, s] - 1) ** 2)))
