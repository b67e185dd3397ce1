"""The retrieval: a disk with known parameters, its spectrum with noise, and what is got back."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from algorithmic.disks import forward, lamda, lines, radiation, retrieval, tracer
from experiments.disks import stages
from experiments.disks.config import Config
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
CALIBRATED = ("mass_gas", "r_c")  # of the reduced problem
RATIO, SNR = 69.0, 30.0  # 12C/13C; peak over noise


class Retrieved(NamedTuple):
    """Posteriors in physical units, and how good they are."""

    velocities: np.ndarray
    data: np.ndarray
    sigma: float
    nuts: dict[str, np.ndarray]
    acceptance: float
    divergent: float
    nested: dict[str, np.ndarray] | None
    log_z: tuple[float, float] | None
    calibration: retrieval.Calibration | None
    halving: float  # largest change of the spectrum when ray steps are halved


def setup(config: Config, *, reduced: bool = False) -> forward.Setup:
    """13CO 2-1 of the demonstration's disk; from LAMDA, or from the rotor's constants."""
    folder = sources.folder("astrochem")
    molecule = lamda.read(folder / "lamda" / "13co.dat") if folder else lamda.rotor("13CO")
    few = reduced or config.channels < 20
    return forward.Setup(
        molecule,
        lines.line_of(molecule, config.line),
        "CO",
        RATIO,
        {"mass_star": 0.7, "gamma": 0.75},
        {"chi_star": 1e3, "gas_to_small": 300.0},
        tracer.View(30.0, 25.0, 150.0),
        tracer.Physics(mass_star=0.7, turbulence=0.3),
        np.linspace(-4, 4, 9 if few else config.channels),
        np.geomspace(1.0, 400.0, 10 if few else 24),
        radiation.heights(10 if few else 20),
        rays=(6, 8) if few else (10, 16),
        samples=6 if few else 16,
    )


def retrieve(config: Config, fitted: stages.Fitted) -> Retrieved:
    """NUTS through the perceptron, nested sampling through nearest neighbours, calibration."""
    model = fitted.models["perceptron"]
    kept = setup(config)
    with jax.enable_x64(True):
        truth = jax.jit(lambda: forward.spectrum(kept, TRUTH, model=model))()
        fine = kept._replace(samples=2 * kept.samples)
        halved = jax.jit(lambda: forward.spectrum(fine, TRUTH, model=model))()
        halving = float(jnp.abs(halved - truth).max() / jnp.abs(truth).max())
        sigma = float(truth.max()) / SNR
        noise = np.random.default_rng(config.seed).normal(size=truth.shape)
        data = jnp.asarray(np.asarray(truth) + sigma * noise)

        def log_likelihood(unit):
            values = retrieval.from_cube(PRIORS, unit)
            return retrieval.gaussian(data, forward.spectrum(kept, values, model=model), sigma)

    count = config.chains_samples
    found = retrieval.nuts(
        log_likelihood,
        np.full(len(PRIORS), 0.5),
        jax.random.key(config.seed),
        draws=count,
        warmup=count,
        deepest=3,
    )
    posterior = _physical(found.unit)
    nested, log_z = None, None
    if config.live:
        knn = fitted.models[fitted.best]
        nested, log_z = _nested(config, kept, knn, sigma)
    calibration = _calibrate(config, model) if config.calibration else None
    return Retrieved(
        kept.velocities, np.asarray(data), sigma, posterior, found.accepted, found.divergent,
        nested, log_z, calibration, halving,
    )  # fmt: skip


def _physical(unit: np.ndarray, names=tuple(PRIORS)) -> dict[str, np.ndarray]:
    values = retrieval.from_cube({k: PRIORS[k] for k in names}, unit)
    return {k: np.asarray(v) for k, v in values.items()}


def _nested(config: Config, kept: forward.Setup, knn, sigma: float):
    """Posterior of a spectrum whose chemistry is the exact regressor's, data and model alike."""
    cells = jax.jit(
        jax.vmap(lambda unit: forward.cells(kept, retrieval.from_cube(PRIORS, unit))[1])
    )

    def one(unit, abundance):
        return forward.spectrum(kept, retrieval.from_cube(PRIORS, unit), abundance)

    batch = jax.jit(lambda units, x: jax.lax.map(lambda a: one(*a), (units, x)))

    def spectra(units: np.ndarray) -> np.ndarray:
        size = 1 << max(5, (len(units) - 1).bit_length())  # few shapes
        filled = np.concatenate([units, np.repeat(units[:1], size - len(units), axis=0)])
        with jax.enable_x64(True):
            features = np.asarray(cells(jnp.asarray(filled)))
            flat = forward.knn_abundances(knn, kept, features.reshape(-1, features.shape[-1]))
            x = flat.reshape(features.shape[:2])
            return np.asarray(batch(jnp.asarray(filled), jnp.asarray(x)))[: len(units)]

    truth = spectra(retrieval.to_cube(PRIORS, TRUTH)[None])[0]
    noise = np.random.default_rng(config.seed + 1).normal(size=truth.shape)
    data = truth + sigma * noise

    def log_likelihood(units: np.ndarray) -> np.ndarray:
        miss = (data[None] - spectra(units)) / sigma
        return -0.5 * np.sum(miss**2 + np.log(2 * np.pi * sigma**2), axis=1)

    found = retrieval.nested(log_likelihood, list(PRIORS), live=config.live, calls=config.live * 60)
    return _physical(found.unit), (found.log_z, found.error)


def _calibrate(config: Config, model) -> retrieval.Calibration:
    """Two parameters, nine channels, a coarse grid: the whole chain, many times."""
    kept = setup(config, reduced=True)
    priors = {k: PRIORS[k] for k in CALIBRATED}
    rest = {k: v for k, v in TRUTH.items() if k not in CALIBRATED}

    def spectrum(unit):
        return forward.spectrum(kept, {**rest, **retrieval.from_cube(priors, unit)}, model=model)

    with jax.enable_x64(True):
        middle = np.full(len(priors), 0.5)
        sigma = float(jax.jit(spectrum)(jnp.asarray(middle)).max()) / SNR

    def simulate(unit, key):
        clean = spectrum(unit)
        return clean + sigma * jax.random.normal(key, clean.shape, clean.dtype)

    return retrieval.calibrate(
        simulate,
        lambda data, unit: retrieval.gaussian(data, spectrum(unit), sigma),
        len(priors),
        jax.random.key(config.seed + 2),
        simulations=config.calibration,
        draws=49,
        warmup=100,
        thin=2,
        leaps=5,
        batch=100,
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
