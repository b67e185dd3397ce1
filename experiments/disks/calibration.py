"""Simulation-based calibration on line fluxes: the whole chain on a coarse grid, many times."""

import jax
import jax.numpy as jnp
import numpy as np

from algorithmic.disks import forward, lines, radiation, retrieval, tracer
from experiments.disks import heldout
from experiments.disks.config import Config
from experiments.disks.observation import DISK, LIGHT, PRIORS, TRUTH

CALIBRATED = ("mass_gas", "r_c")  # the others are kept at the truth
# Isotopes of carbon monoxide, a line of each, and what CO's abundance is divided by.
OBSERVED = (("co", "2-1", 1.0), ("13co", "2-1", 69.0), ("c18o", "2-1", 550.0))
NOISE, EMULATOR = 0.1, 0.1  # relative: of each flux, and of the emulator in all of them together


def setups(radii: int = 10, layers: int = 10) -> list[forward.Setup]:
    """The lines of a face-on disk on a coarse grid."""
    out = []
    for file, label, ratio in OBSERVED:
        molecule = heldout.molecule(file)
        out.append(
            forward.Setup(
                molecule,
                lines.line_of(molecule, label),
                "CO",
                ratio,
                DISK,
                LIGHT,
                tracer.View(0.0, 0.0, 150.0),
                tracer.Physics(mass_star=DISK["mass_star"], turbulence=0.3),
                np.linspace(-2.0, 2.0, 11),
                np.geomspace(1.0, 400.0, radii),
                radiation.heights(layers),
                rays=(10, 1),
                samples=8,
            )
        )
    return out


def run(config: Config, model) -> retrieval.Calibration:
    """Ranks of the parameters that fluxes were simulated with, emulator's error included.

    Args:
        config: how many simulations.
        model: the perceptron.
    """
    kept = setups()
    priors = {k: PRIORS[k] for k in CALIBRATED}
    rest = {k: v for k, v in TRUTH.items() if k not in CALIBRATED}

    def fluxes(unit):
        values = {**rest, **retrieval.from_cube(priors, unit)}
        return jnp.stack([forward.line_flux(one, values, model=model) for one in kept])

    with jax.enable_x64(True):
        middle = jax.jit(fluxes)(jnp.full(len(priors), 0.5))
        sigma = NOISE * np.asarray(middle)

    def simulate(unit, key):
        clean = fluxes(unit)
        own, shared = jax.random.split(key)
        noise = sigma * jax.random.normal(own, clean.shape, clean.dtype)
        return clean * (1 + EMULATOR * jax.random.normal(shared, (), clean.dtype)) + noise

    def log_likelihood(data, unit):
        clean = fluxes(unit)
        return retrieval.gaussian(data, clean, sigma, modes=EMULATOR * clean[None])

    return retrieval.calibrate(
        simulate,
        log_likelihood,
        len(priors),
        jax.random.key(config.seed + 2),
        simulations=config.calibration,
        draws=49,
        warmup=100,
        thin=2,
        leaps=5,
        batch=config.calibration_batch,
    )
