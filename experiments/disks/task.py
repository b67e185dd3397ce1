"""The retrieval: a disk with known parameters, its noisy data, and what is got back."""

import concurrent.futures
import functools
import os
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from algorithmic.disks import forward, retrieval
from experiments import result
from experiments.disks import calibration, heldout, observation, stages
from experiments.disks.config import Config
from experiments.disks.observation import PRIORS, TRUTH


class Retrieved(NamedTuple):
    """Posteriors in physical units, and how good they are."""

    velocities: np.ndarray
    data: np.ndarray
    spectra: dict[str, np.ndarray]  # of the true disk: chemistry, perceptron, neighbours
    sigma: float
    emulator: dict[str, float]  # relative error of the line by sampler, in its likelihood
    nuts: dict[str, np.ndarray]
    acceptance: float
    divergent: float
    r_hat: np.ndarray  # (parameters,)
    effective: np.ndarray  # (parameters,) draws
    nested: dict[str, np.ndarray] | None
    evidence: retrieval.Evidence | None
    calibration: retrieval.Calibration | None
    channels: dict[str, Any]  # cubes (pixels, pixels, V) by chemistry and by neighbours
    halving: float  # largest change of the spectrum when ray steps are halved


def retrieve(config: Config, fitted: stages.Fitted, directory: result.RunDirectory) -> Retrieved:
    """NUTS through the perceptron, nested sampling through nearest neighbours, calibration.

    The data come from neither: the true disk's chemistry is solved. What the emulators get wrong
    in the line of disks that they have not seen stands in the likelihood.
    """
    model, knn = fitted.models["perceptron"], fitted.models[stages.CONTINUOUS]
    kept = observation.setup(config)
    abundance = observation.chemistry(config, kept, directory.path / "truth.npz")
    data, sigma = observation.measure(config, kept, abundance)
    scale = {
        name: heldout.relative_error(fitted.fluxes, name, kept.species)
        for name in ("perceptron", stages.CONTINUOUS)
    }
    modes = {name: observation.modes(config, kept, knn, fitted.residuals[name]) for name in scale}
    with jax.enable_x64(True):
        spectra, halving = _spectra(kept, model, knn, abundance)
        channels = _channels(kept, knn, abundance)
    print("retrieval: NUTS through the perceptron", flush=True)
    found, r_hat, effective = _nuts(config, kept, model, data, sigma, modes["perceptron"])
    evidence = None
    if config.live:
        print("retrieval: nested sampling through nearest neighbours", flush=True)
        evidence = _nested(config, kept, knn, data, sigma, modes[stages.CONTINUOUS])
    calibrated = None
    if config.calibration:
        print("retrieval: simulation-based calibration", flush=True)
        calibrated = calibration.run(config, model)
    return Retrieved(
        kept.velocities, data, spectra, sigma,
        {"NUTS": scale["perceptron"], "nested sampling": scale[stages.CONTINUOUS]},
        _physical(found.unit), found.accepted, found.divergent, r_hat, effective,
        None if evidence is None else _physical(evidence.unit), evidence,
        calibrated, channels, halving,
    )  # fmt: skip


def _spectra(kept: forward.Setup, model, knn, abundance) -> tuple[dict[str, np.ndarray], float]:
    """The true disk's spectra by chemistry and emulators; change when ray steps are halved."""
    run = jax.jit(lambda x: forward.spectrum(kept, TRUTH, x))
    fine = kept._replace(samples=2 * kept.samples)
    features = np.asarray(jax.jit(lambda: forward.cells(kept, TRUTH)[1])())
    at = model.species.index(kept.species)
    spectra = {
        "chemistry": run(abundance),
        "perceptron": run(np.asarray(model.apply(features)[:, at], np.float64)),
        "neighbours": run(forward.knn_abundances(knn, kept, features)),
    }
    spectra = {k: np.asarray(v) for k, v in spectra.items()}
    halved = np.asarray(jax.jit(lambda x: forward.spectrum(fine, TRUTH, x))(abundance))
    peak = np.abs(halved).max()
    return spectra, float(np.abs(halved - spectra["chemistry"]).max() / peak)


def _channels(kept: forward.Setup, knn, abundance, pixels: int = 48, half: float = 250.0):
    """Channel maps of the true disk, continuum included."""
    some = kept._replace(velocities=np.array([-2.0, -1.0, 0.0, 1.0, 2.0]))
    features = np.asarray(jax.jit(lambda: forward.cells(kept, TRUTH)[1])())
    emulated = forward.knn_abundances(knn, kept, features)
    cube = lambda x: forward.image(some, TRUTH, jnp.asarray(x), pixels=pixels, half=half)[0]
    return {
        "velocities": some.velocities,
        "half": half,
        "chemistry": cube(abundance),
        "neighbours": cube(emulated),
    }


def _nuts(config: Config, kept, model, data, sigma: float, modes):
    """(samples of all chains, r hat, effective draws); chains share the cores."""

    def log_likelihood(unit):
        values = retrieval.from_cube(PRIORS, unit)
        got = observation.predict(config, kept, values, model=model)
        return retrieval.gaussian(jnp.asarray(data), got, sigma, modes=modes(got))

    def chain(seed: int) -> retrieval.Samples:
        start = np.random.default_rng(seed).uniform(0.3, 0.7, len(PRIORS))
        return retrieval.nuts(
            log_likelihood,
            start,
            jax.random.key(seed),
            draws=config.chains_samples,
            warmup=config.chains_samples,
            deepest=6,
        )

    seeds = range(config.seed, config.seed + config.chains)
    with concurrent.futures.ThreadPoolExecutor(min(config.chains, os.cpu_count() or 1)) as pool:
        chains = list(pool.map(chain, seeds))
    whole = retrieval.Samples(
        np.concatenate([c.unit for c in chains]),
        np.concatenate([c.log_likelihood for c in chains]),
        float(np.mean([c.accepted for c in chains])),
        float(np.mean([c.divergent for c in chains])),
    )
    return whole, *retrieval.convergence(np.stack([c.unit for c in chains]))


def _physical(unit: np.ndarray) -> dict[str, np.ndarray]:
    return {k: np.asarray(v) for k, v in retrieval.from_cube(PRIORS, unit).items()}


CHUNK = 4  # points a thread takes at a time


def _nested(config: Config, kept, knn, data, sigma: float, modes) -> retrieval.Evidence:
    said = time.monotonic()

    def progress(calls: int, log_z: float) -> None:
        nonlocal said
        if time.monotonic() > said + 20:
            said = time.monotonic()
            print(f"nested sampling: {calls} likelihoods, ln Z {log_z:.2f} so far", flush=True)

    return retrieval.nested(
        through_neighbours(config, kept, knn, data, sigma, modes),
        list(PRIORS),
        live=config.live,
        seed=config.seed,
        calls=config.live * 1000,
        progress=progress,
    )


def through_neighbours(config: Config, kept, knn, data, sigma: float, modes):
    """ln L of points (n, d) of the unit cube on the host, by exact neighbours.

    Features on the device, the neighbours of all points in one search, then rays in chunks that the
    cores share: a program of small arrays runs on one core only, and every chunk has one shape.
    """
    cells = jax.jit(
        jax.vmap(lambda unit: forward.cells(kept, retrieval.from_cube(PRIORS, unit))[1])
    )

    def one(unit, abundance):
        values = retrieval.from_cube(PRIORS, unit)
        got = observation.predict(config, kept, values, abundance)
        return retrieval.gaussian(jnp.asarray(data), got, sigma, modes=modes(got))

    chunk = jax.jit(lambda units, x: jax.lax.map(lambda a: one(*a), (units, x)))

    def run(function, *arrays) -> np.ndarray:
        with jax.enable_x64(True):
            return np.asarray(function(*map(jnp.asarray, arrays)))

    pool = concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1)

    def log_likelihood(units: np.ndarray) -> np.ndarray:
        filled = np.concatenate([units, np.repeat(units[:1], -len(units) % CHUNK, axis=0)])
        parts = filled.reshape(-1, CHUNK, filled.shape[1])
        features = np.stack(list(pool.map(functools.partial(run, cells), parts)))
        flat = forward.knn_abundances(knn, kept, features.reshape(-1, features.shape[-1]))
        found = pool.map(functools.partial(run, chunk), parts, flat.reshape(features.shape[:3]))
        return np.concatenate(list(found))[: len(units)]

    return log_likelihood


def intervals(posterior: dict[str, np.ndarray]) -> dict[str, Any]:
    """Median and central 95 % of each parameter, and whether it holds the truth."""
    out = {}
    for name, draws in posterior.items():
        low, middle, high = np.quantile(draws, [0.025, 0.5, 0.975])
        inside = bool(low <= TRUTH[name] <= high)
        out[name] = {"truth": TRUTH[name], "low": float(low), "median": float(middle),
                     "high": float(high), "inside": inside}  # fmt: skip
    return out
