"""The disk to be got back: that of the authors' demonstration, its chemistry, its data."""

import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from algorithmic.disks import (
    bdf,
    forward,
    lines,
    model,
    population,
    radiation,
    retrieval,
    structure,
    table,
    tracer,
)
from algorithmic.disks import constants as c
from experiments.disks import heldout
from experiments.disks.config import DATA, Config
from fl_jax.core import errors
from fl_jax.data import sources

# Truth and priors of the authors' fitting demonstration; the ranges of the emulator are wider.
TRUTH = {"mass_gas": 1e-3, "r_c": 100.0, "q": 0.55, "t_atm": 1000.0, "t_mid": 200.0}
PRIORS = {
    "mass_gas": retrieval.Prior(1e-4, 1e-2, True),
    "r_c": retrieval.Prior(30.0, 200.0),
    "q": retrieval.Prior(0.4, 0.7),
    "t_atm": retrieval.Prior(300.0, 1500.0, True),
    "t_mid": retrieval.Prior(100.0, 300.0, True),
}
RATIO, SNR = 69.0, 30.0  # 12C/13C; peak over noise
DISK = {"mass_star": 0.7, "gamma": 0.75}
LIGHT = {"chi_star": 1e3, "gas_to_small": 300.0}
METRES = (15.0, 370.0)  # shortest and longest baseline, those of a compact array
BASELINES = 12


def setup(config: Config) -> forward.Setup:
    """13CO of the demonstration's disk; from LAMDA, or from the rotor's constants."""
    molecule = heldout.molecule("13co")
    few = config.channels < 20
    return forward.Setup(
        molecule,
        lines.line_of(molecule, config.line),
        "CO",
        RATIO,
        DISK,
        LIGHT,
        tracer.View(30.0, 25.0, 150.0),
        tracer.Physics(mass_star=DISK["mass_star"], turbulence=0.3),
        np.linspace(-4, 4, config.channels),
        *heldout.axes(config),
        rays=(6, 8) if few else (8, 12),
        samples=6 if few else 28,
    )


def chemistry(config: Config, kept: forward.Setup, path: pathlib.Path) -> np.ndarray:
    """(I J,) log10 abundance of CO in the true disk, solved with the population's network.

    Args:
        config: network, age and tolerance.
        kept: the grid.
        path: where it is kept, or was by an earlier run.
    """
    if path.is_file():
        header, arrays = table.read_npz(path, table.VERSION)
        if header["shape"] == [len(kept.r), len(kept.height)]:
            return arrays["abundance"]
    disk = structure.Disk(**DISK, **TRUTH)
    grid = radiation.make_grid(disk, radiation.Light(**LIGHT), kept.r, kept.height)
    ready = population.setting(
        population.Population(network=config.network), sources.folder("astrochem")
    )
    solved = model.solve(
        ready.network,
        population.start(ready.network),
        grid,
        years=config.years,
        tables=ready.tables,
        options=bdf.Options(rtol=config.rtol, atol=1e-20),
    )
    bad = int((solved.solved & ~solved.converged).sum())
    if bad:
        raise errors.DataError(f"{bad} cells of the true disk did not converge; lower rtol.")
    x = np.where(solved.solved, solved.x[..., ready.network.index("CO")], 0.0)
    abundance = np.log10(np.maximum(x, table.FLOOR)).ravel()
    header = {"version": table.VERSION, "shape": list(grid.density.shape)}
    table.write_npz(path, header, abundance=abundance)
    return abundance


def baselines(frequency: float) -> tuple[np.ndarray, np.ndarray]:
    """(u, v) [wavelengths]: lengths evenly spaced, directions by the golden angle."""
    length = np.linspace(*METRES, BASELINES) * frequency / (c.C / 100)  # c in m/s
    angle = np.arange(BASELINES) * np.pi * (3 - np.sqrt(5))
    return length * np.cos(angle), length * np.sin(angle)


def predict(config: Config, kept: forward.Setup, values: dict[str, Any], abundance=None, *,
            model=None):  # fmt: skip
    """What would be measured, as a vector [Jy]: a spectrum, or parts of visibilities."""
    if config.data == "spectrum":
        return forward.spectrum(kept, values, abundance, model=model)
    u, v = map(jnp.asarray, baselines(kept.line.frequency))
    return forward.visibilities(kept, values, u, v, abundance, model=model).ravel()


def modes(config: Config, kept: forward.Setup, knn, residuals: np.ndarray):
    """The function (model (n,)) -> (K, n) of errors that an emulator makes in the data.

    What it gets wrong in each disk that it has not seen, cell by cell of the same grid, is put into
    the disk at the centre of the prior and traced, zone by zone: few disks say how errors of
    neighbouring cells go together, but not those of distant ones, and so `zones` keep them apart
    [covariance localisation, Houtekamer & Mitchell 2001]. The errors go with the size of the model;
    their covariance is the mean over the disks, in K orthogonal directions.

    Args:
        config: which data.
        kept: the setup.
        knn: gives the abundances at the centre of the prior.
        residuals: (disks, I, J) log10 of emulated over true abundance.
    """
    middle = retrieval.from_cube(PRIORS, np.full(len(PRIORS), 0.5))
    with jax.enable_x64(True):
        features = np.asarray(jax.jit(lambda: forward.cells(kept, middle)[1])())
        x = forward.knn_abundances(knn, kept, features)
        run = jax.jit(lambda x: predict(config, kept, middle, x))
        off = traced_errors(run, x, residuals, zones(kept.r))
        scaled = leading(off) / np.linalg.norm(run(x))
    return lambda model: jnp.asarray(scaled) * jnp.sqrt(jnp.sum(model**2))


def traced_errors(run, x: np.ndarray, residuals: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """(disks x zones, n) errors of the data whose outer products add up to their covariance.

    Args:
        run: (I J,) log10 abundances to data (n,).
        x: log10 abundances.
        residuals: (disks, I, J) errors of them.
        parts: (zones, I, 1), see `zones`.
    """
    centre = np.asarray(run(x))
    wrong = [one * part for one in residuals for part in parts]
    off = np.stack([np.asarray(run(x + one.ravel())) - centre for one in wrong])
    return off / np.sqrt(len(residuals))


def zones(r: np.ndarray, count: int = 3) -> np.ndarray:
    """(count, I, 1) parts of the radii, overlapping, whose squares sum to one.

    The covariance of errors is then multiplied by one that falls from 1 for a radius with itself to
    0 for radii of zones that do not overlap.
    """
    if count == 1:
        return np.ones((1, len(r), 1))
    at = np.log(r)
    middle = np.linspace(at[0], at[-1], count)
    share = 1 - np.abs(at[None] - middle[:, None]) * (count - 1) / (at[-1] - at[0])
    return np.sqrt(np.maximum(share, 0.0))[..., None]


def leading(modes: np.ndarray, left: float = 1e-7) -> np.ndarray:
    """(K, n) orthogonal directions that hold all but this share of the modes' variance.

    What is small beside the largest error is not small beside the noise: so hardly any is left out.
    """
    _, size, directions = np.linalg.svd(modes, full_matrices=False)
    rest = np.cumsum(size[::-1] ** 2)[::-1]
    return (size[:, None] * directions)[rest > left * rest[0]]


def measure(config: Config, kept: forward.Setup, abundance: np.ndarray):
    """(data, noise's standard deviation) of the true disk with noise."""
    errors.one_of("kind of data", config.data, DATA)
    with jax.enable_x64(True):
        clean = np.asarray(jax.jit(lambda x: predict(config, kept, TRUTH, x))(abundance))
    sigma = float(np.abs(clean).max()) / SNR
    noise = np.random.default_rng(config.seed).normal(size=clean.shape)
    return clean + sigma * noise, sigma
