"""The retrieval: a disk with known parameters, its noisy data, and what is got back."""

import concurrent.futures
import os
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
    log_z: tuple[float, float] | None
    calls: int
    calibration: retrieval.Calibration | None
    channels: dict[str, Any]  # cubes (pixels, pixels, V) by chemistry and by neighbours
    halving: float  # largest change of the spectrum when ray steps are halved


def retrieve(config: Config, fitted: stages.Fitted, directory: result.RunDirectory) -> Retrieved:
    """NUTS through the perceptron, nested sampling through nearest neighbours, calibration.

    The data come from neither: the true disk's chemistry is solved. What the emulators get wrong
    in the line of disks that they have not seen stands in the likelihood.
    """
    model, knn = fitted.models["perceptron"], fitted.models[fitted.best]
    kept = observation.setup(config)
    abundance = observation.chemistry(config, kept, directory.path / "truth.npz")
    data, sigma = observation.measure(config, kept, abundance)
    scale = {
        name: heldout.relative_error(fitted.fluxes, name, kept.species)
        for name in ("perceptron", fitted.best)
    }
    modes = {name: observation.modes(config, kept, knn, fitted.residuals[name]) for name in scale}
    with jax.enable_x64(True):
        spectra, halving = _spectra(kept, model, knn, abundance)
        channels = _channels(kept, knn, abundance)
    print("retrieval: NUTS through the perceptron", flush=True)
    found, r_hat, effective = _nuts(config, kept, model, data, sigma, modes["perceptron"])
    nested, log_z, calls = None, None, 0
    if config.live:
        print("retrieval: nested sampling through nearest neighbours", flush=True)
        evidence = _nested(config, kept, knn, data, sigma, modes[fitted.best])
        nested, log_z = _physical(evidence.unit), (evidence.log_z, evidence.error)
        calls = evidence.calls
    calibrated = None
    if config.calibration:
        print("retrieval: simulation-based calibration", flush=True)
        calibrated = calibration.run(config, model)
    return Retrieved(
        kept.velocities, data, spectra, sigma,
        {"NUTS": scale["perceptron"], "nested sampling": scale[fitted.best]},
        _physical(found.unit), found.accepted, found.divergent, r_hat, effective,
        nested, log_z, calls, calibrated, channels, halving,
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


def _nested(config: Config, kept, knn, data, sigma: float, modes) -> retrieval.Evidence:
    """UltraNest's batches: features on the device, exact neighbours, rays on the device."""
    cells = jax.jit(
        jax.vmap(lambda unit: forward.cells(kept, retrieval.from_cube(PRIORS, unit))[1])
    )

    def one(unit, abundance):
        values = retrieval.from_cube(PRIORS, unit)
        got = observation.predict(config, kept, values, abundance)
        return retrieval.gaussian(jnp.asarray(data), got, sigma, modes=modes(got))

    batch = jax.jit(lambda units, x: jax.lax.map(lambda a: one(*a), (units, x)))

    def log_likelihood(units: np.ndarray) -> np.ndarray:
        size = 1 << max(2, (len(units) - 1).bit_length())  # few shapes, little padding
        filled = np.concatenate([units, np.repeat(units[:1], size - len(units), axis=0)])
        with jax.enable_x64(True):
            features = np.asarray(cells(jnp.asarray(filled)))
            flat = forward.knn_abundances(knn, kept, features.reshape(-1, features.shape[-1]))
            x = flat.reshape(features.shape[:2])
            return np.asarray(batch(jnp.asarray(filled), jnp.asarray(x)))[: len(units)]

    return retrieval.nested(
        log_likelihood, list(PRIORS), live=config.live, seed=config.seed, calls=config.live * 1000
    )


def intervals(posterior: dict[str, np.ndarray]) -> dict[str, Any]:
    """Median and central 95 % of each parameter, and whether it holds the truth."""
    out = {}
    for name, draws in posterior.items():
        low, middle, high = np.quantile(draws, [0.025, 0.5, 0.975])
        inside = bool(low <= TRUTH[name] <= high)
        out[name] = {"truth": TRUTH[name], "low": float(low), "median": float(middle),
                     "high": float(high), "inside": inside}  # fmt: skip
    return out
