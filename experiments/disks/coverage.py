"""Do regions hold the truth? The retrieval of every disk of the population, linearised there.

A disk's data are traced through its true chemistry, with noise; the model goes through an emulator
that has not seen it. With J the model's derivatives, e data less model at the truth, C the
covariance of the likelihood, and a prior of the unit cube's variance, the mean of the posterior is
off by S J^T C^-1 e, S = (J^T C^-1 J + 12 I)^-1. That costs a dozen models a disk and no sampler.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from algorithmic.disks import families, forward, retrieval, validation
from experiments.disks import heldout, observation, stages
from experiments.disks.config import Config

STEP = 0.03  # of the derivatives, in the unit cube


class Coverage(NamedTuple):
    """Of one likelihood, over all disks and parameters."""

    inside68: float  # share of truths
    inside95: float
    width: float  # median standard deviation of a posterior, in the unit cube
    error: float  # root mean square of what its mean is off by


def run(config: Config, found: stages.Rows, k: int = 48) -> dict[str, Coverage]:
    """By what the likelihood knows of the emulator's errors.

    Args:
        config: grid, data, folds and features.
        found: the population.
        k: neighbours of the emulator, that of `stages.CONTINUOUS`.
    """
    species = found.species[:1]
    owner = found.all.columns["disk"]
    fold = validation.folds(owner, config.test_folds)
    how = {"k": k, "form": "loess", "species": species, "features": config.fit_features}
    models = [stages.fitted(found.all.select(fold != f), how) for f in range(config.test_folds)]
    drawn = found.all.meta["parameters"]
    ranges = families.named(config.family).ranges
    priors = {name: retrieval.Prior(*ranges[name]) for name in observation.PRIORS}
    kept = observation.setup(config)
    features = jax.jit(lambda values: forward.cells(kept, values)[1])
    trace = jax.jit(lambda values, x: observation.predict(config, kept, values, x))
    rng = np.random.default_rng(config.seed)
    disks = np.unique(owner)
    group = {d: int(fold[owner == d][0]) for d in disks}
    errors = {d: _errors(config, found, owner == d, models[group[d]]) for d in disks}
    off = {}
    with jax.enable_x64(True):
        for disk in disks:
            rows = found.all.select(owner == disk)
            truth = jax.tree.map(jnp.float64, heldout.parameters(drawn[str(disk)]))
            start = retrieval.to_cube(priors, {n: float(truth[n]) for n in priors})

            def abundance(values, model=models[group[disk]]):
                return forward.knn_abundances(model, kept, np.asarray(features(values)))

            def model(unit, truth=truth, abundance=abundance):
                values = retrieval.from_cube(priors, jnp.asarray(unit))
                values = {**truth, **values}
                return np.asarray(trace(values, jnp.asarray(abundance(values))))

            x = heldout.maps(rows, config, rows.targets(species)[:, 0]).ravel()
            data = np.asarray(trace(truth, jnp.asarray(x)))
            sigma = np.abs(data).max() / observation.SNR
            miss = data + sigma * rng.normal(size=data.shape) - model(start)
            slopes = np.stack(
                [
                    (model(start + h) - model(start - h)) / (2 * STEP)
                    for h in STEP * np.eye(len(start))
                ],
                axis=1,
            )
            others = [d for d in disks if d != disk]
            few = [d for d in others if group[d] == group[disk]] or others[:1]
            run = lambda x, truth=truth: np.asarray(trace(truth, jnp.asarray(x)))
            likelihoods = {
                "noise alone": np.zeros((1, data.size)),
                "errors in one fold": _modes(
                    run, abundance(truth), [errors[d] for d in few], kept, 1
                ),
                "in all": _modes(run, abundance(truth), [errors[d] for d in others], kept, 1),
                "in all, by zones": _modes(
                    run, abundance(truth), [errors[d] for d in others], kept
                ),
            }
            for name, modes in likelihoods.items():
                off.setdefault(name, []).append(_posterior(slopes, miss, sigma, modes))
    return {name: _summary(np.array(v)) for name, v in off.items()}


def _errors(config: Config, found: stages.Rows, at: np.ndarray, model) -> np.ndarray:
    rows = found.all.select(at)
    truth = rows.targets(found.species[:1])
    values = model.predict(rows.features(model.features)).values
    return heldout.residuals(config, rows, truth, values)[0]


def _modes(run, x, errors, kept: forward.Setup, count: int = 3) -> np.ndarray:
    return observation.traced_errors(run, x, np.stack(errors), observation.zones(kept.r, count))


def _posterior(slopes, miss, sigma: float, modes) -> np.ndarray:
    """(2, d): what the mean is off by, and the standard deviation."""
    covariance = sigma**2 * np.eye(len(miss)) + modes.T @ modes
    weighed = np.linalg.solve(covariance, np.column_stack([slopes, miss]))
    found = np.linalg.inv(slopes.T @ weighed[:, :-1] + 12 * np.eye(slopes.shape[1]))
    return np.stack([found @ (slopes.T @ weighed[:, -1]), np.sqrt(np.diag(found))])


def _summary(off: np.ndarray) -> Coverage:
    z = np.abs(off[:, 0] / off[:, 1])
    error = np.sqrt((off[:, 0] ** 2).mean())
    return Coverage(
        float((z < 1).mean()), float((z < 1.96).mean()), float(np.median(off[:, 1])), float(error)
    )
