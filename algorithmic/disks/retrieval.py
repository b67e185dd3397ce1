"""Bayesian retrieval: priors, likelihoods, NUTS, nested sampling, simulation-based calibration."""

import contextlib
import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fl_jax.core import errors
from fl_jax.core.types import PyTree


class Prior(NamedTuple):
    """A uniform prior of one parameter."""

    low: float
    high: float
    logarithmic: bool = False  # uniform in the logarithm


def from_cube(priors: dict[str, Prior], unit) -> PyTree:
    """Parameters at a point of the unit cube (d,), or at many (n, d): the prior's quantiles.

    Raises:
        ConfigError: a prior that is none, or a point of another number of dimensions.
    """
    _check(priors)
    if unit.shape[-1] != len(priors):
        raise errors.ConfigError(
            f"a point of {len(priors)} priors has as many coordinates, but {unit.shape} came."
        )
    out = {}
    for i, (name, p) in enumerate(priors.items()):
        u = unit[..., i]
        if p.logarithmic:
            out[name] = p.low * (p.high / p.low) ** u
        else:
            out[name] = p.low + (p.high - p.low) * u
    return out


def _check(priors: dict[str, Prior]) -> None:
    for name, p in priors.items():
        finite = np.isfinite(p.low) and np.isfinite(p.high)
        if not (finite and p.low < p.high and (p.low > 0 or not p.logarithmic)):
            raise errors.ConfigError(
                f"the prior of {name} should rise from low to high, both finite, from above 0 if it"
                f" is logarithmic, but {p.low:g} to {p.high:g} came."
            )


def to_cube(priors: dict[str, Prior], values: dict[str, float]) -> np.ndarray:
    """The point of the unit cube of these parameters.

    Raises:
        ConfigError: a prior that is none, or a parameter that is missing or outside its prior.
    """
    _check(priors)
    out = []
    for name, p in priors.items():
        low, high, x = p.low, p.high, values.get(name, np.nan)
        if not low <= x <= high:
            came = f"{x:g}" if name in values else "none"
            raise errors.ConfigError(
                f"{name} must lie in its prior, {low:g} to {high:g}, but {came} came."
            )
        if p.logarithmic:
            low, high, x = np.log(low), np.log(high), np.log(x)
        out.append((x - low) / (high - low))
    return np.array(out)


def gaussian(data, model, sigma, emulator_sigma=0.0, modes=None):
    """ln L of independent noise and of an emulator that errs.

    Covariance diag(sigma^2 + emulator_sigma^2) + sum_k e_k e_k^T: an error of each datum by itself,
    and errors that the data share. Its inverse and determinant are those of a diagonal and K
    directions [Woodbury 1950].

    Args:
        data: (n,).
        model: (n,).
        sigma: standard deviation of the noise.
        emulator_sigma: of the emulator's own error in each datum.
        modes: (K, n) the shared errors e_k; none unless given.
    """
    variance = jnp.broadcast_to(sigma**2 + emulator_sigma**2, jnp.shape(data))
    miss = (data - model) / jnp.sqrt(variance)
    found = jnp.sum(miss**2 + jnp.log(2 * np.pi * variance))
    if modes is not None:
        weighed = modes / jnp.sqrt(variance)[None]
        along = weighed @ miss
        inner = jnp.eye(len(modes), dtype=weighed.dtype) + weighed @ weighed.T
        lower = jnp.linalg.cholesky(inner)
        half = jax.scipy.linalg.solve_triangular(lower, along, lower=True)
        found += 2 * jnp.sum(jnp.log(jnp.diag(lower))) - jnp.sum(half**2)
    return -0.5 * found


class Samples(NamedTuple):
    """Draws of a posterior, in the unit cube of the prior."""

    unit: np.ndarray  # (draws, d)
    log_likelihood: np.ndarray  # (draws,)
    accepted: float  # mean acceptance
    divergent: float  # share of divergent trajectories


def _density(log_likelihood: Callable):
    """Log density over unbounded coordinates: the unit cube through a logistic function."""

    def density(z):
        unit = jax.nn.sigmoid(z)
        jacobian = jnp.sum(jax.nn.log_sigmoid(z) + jax.nn.log_sigmoid(-z))
        return log_likelihood(unit) + jacobian

    return density


@contextlib.contextmanager
def _as_blackjax_wants():
    """float64, and its own mixtures of types, which a caller's strict promotion would refuse."""
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        yield


def nuts(
    log_likelihood: Callable[[Float[Array, " d"]], Float[Array, ""]],
    start: np.ndarray,
    key,
    *,
    draws: int = 300,
    warmup: int = 300,
    target: float = 0.8,
    deepest: int = 6,
) -> Samples:
    """The No-U-Turn sampler of blackjax with window adaptation, over the unit cube of the prior.

    Args:
        log_likelihood: of a point of the unit cube; differentiable, in x64.
        start: a point inside the cube.
        key: of everything random.
        draws: kept.
        warmup: adaptation steps.
        target: acceptance.
        deepest: doublings of a trajectory.

    Raises:
        ConfigError: blackjax is not installed.
        DataError: a likelihood that is not finite at the start.
    """
    blackjax = _import("blackjax")
    density = _density(log_likelihood)
    with _as_blackjax_wants():
        z = np.clip(start, 1e-3, 1 - 1e-3)
        z = jnp.asarray(np.log(z / (1 - z)))
        warm = blackjax.window_adaptation(
            blackjax.nuts, density, target_acceptance_rate=target, max_num_doublings=deepest
        )

        @jax.jit
        def run(key, z):
            first, second = jax.random.split(key)
            (state, parameters), _ = warm.run(first, z, num_steps=warmup)
            kernel = blackjax.nuts(density, **parameters)

            def step(state, key):
                state, info = kernel.step(key, state)
                return state, (state.position, info.acceptance_rate, info.is_divergent)

            return jax.lax.scan(step, state, jax.random.split(second, draws))[1]

        z, rate, divergent = run(key, z)
        unit = np.asarray(jax.nn.sigmoid(z))
        values = np.asarray(jax.jit(lambda u: jax.lax.map(log_likelihood, u))(jnp.asarray(unit)))
        if not np.isfinite(values).all():  # no trajectory ends there: it never left the start
            raise errors.DataError(
                "the likelihood is not finite where the chain began, and it stayed there; start at"
                " a point that the model can compute."
            )
        return Samples(unit, values, float(rate.mean()), float(divergent.mean()))


def convergence(chains: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(potential scale reduction, effective draws) of each parameter.

    Args:
        chains: (chains, draws, d), two chains or more.

    Raises:
        ConfigError: fewer, which cannot be compared.
    """
    if len(chains) < 2:
        raise errors.ConfigError(f"convergence compares two chains or more, got {len(chains)}.")
    blackjax = _import("blackjax")
    with jax.enable_x64(True):
        chains = jnp.asarray(chains)
        r_hat = blackjax.diagnostics.potential_scale_reduction(chains)
        effective = blackjax.diagnostics.effective_sample_size(chains)
        return np.asarray(r_hat), np.asarray(effective)


class Evidence(NamedTuple):
    """What nested sampling found."""

    unit: np.ndarray  # (draws, d) equally weighted posterior draws
    log_z: float
    error: float  # standard deviation of log_z, of so many live points
    calls: int
    effective: float  # draws that the weighted points are worth
    finished: bool  # before the limit of evaluations


def nested(
    log_likelihood: Callable[[np.ndarray], np.ndarray],
    names: list[str],
    *,
    live: int = 100,
    seed: int = 0,
    calls: int | None = None,
    remain: float = 0.01,
    progress: Callable[[int, float], None] = lambda calls, log_z: None,
) -> Evidence:
    """UltraNest's nested sampler with batches of proposals, over the unit cube, in one pass.

    Where ln L jumps, regions of high likelihood fall into pieces and few proposals are accepted:
    give it a continuous one. UltraNest by itself goes on, pass after pass, until the draws are
    worth 400, however few the live points; here their number alone sets the precision, and four
    times as many halve the error.

    Args:
        log_likelihood: (n, d) points of the unit cube to (n,), on the host: anything goes, the
            exact nearest neighbours too.
        names: of the parameters.
        live: live points.
        seed: of NumPy's global generator, the one that UltraNest draws from.
        calls: most evaluations.
        remain: share of the evidence that may be left to the last live points.
        progress: called now and then with evaluations and ln Z so far.

    Raises:
        ConfigError: ultranest is not installed.
    """
    import logging

    ultranest = _import("ultranest", "nested")
    np.random.seed(seed)  # noqa: NPY002
    sampler = ultranest.ReactiveNestedSampler(
        names,
        log_likelihood,
        transform=lambda unit: unit,
        vectorized=True,
        ndraw_min=max(16, live // 2),  # points drawn long before they are wanted are wasted
    )
    sampler.logger.setLevel(logging.ERROR)
    found = sampler.run(
        min_num_live_points=live,
        cluster_num_live_points=min(live, 40),
        max_ncalls=calls,
        frac_remain=remain,
        min_ess=0,
        max_num_improvement_loops=0,
        dlogz=1.01 * np.sqrt(1000) / live,  # a smaller one raises the number of live points
        log_interval=1,  # else the clock says when the number of proposals is looked at
        show_status=False,
        viz_callback=lambda info, **_: progress(info["ncall"], info["logz"]),
    )
    return Evidence(
        np.asarray(found["samples"]), float(found["logz"]), float(found["logzerr"]),
        int(found["ncall"]), float(found["ess"]), calls is None or int(found["ncall"]) < calls,
    )  # fmt: skip


def check_installed(*, chains: bool = True, nested: bool = False) -> None:
    """Refuses a retrieval whose samplers are not there, before what it needs is made.

    Args:
        chains: NUTS, its diagnostics or the calibration is wanted.
        nested: nested sampling is wanted.

    Raises:
        ConfigError: one is not installed.
    """
    if chains:
        _import("blackjax")
    if nested:
        _import("ultranest", "nested")


def _import(name: str, extra: str = "retrieval"):
    import importlib
    import logging

    try:
        found = importlib.import_module(name)
    except ImportError as error:
        raise errors.ConfigError(
            f"{name} is not installed; install the extra `{extra}` (pip install 'fl-jax[{extra}]')."
        ) from error
    logging.getLogger(name).setLevel(logging.ERROR)
    return found


class Calibration(NamedTuple):
    """Simulation-based calibration."""

    ranks: np.ndarray  # (simulations, d) ranks of the truth among the draws, 0..L
    draws: int  # L
    p: np.ndarray  # (d,) of uniform ranks, chi-squared over equal bins
    inside68: np.ndarray  # (d,) share of truths inside the central 68 %
    inside95: np.ndarray
    contraction: np.ndarray  # (d,) 1 - mean posterior variance over prior variance
    acceptance: float


def calibrate(
    simulate: Callable,
    log_likelihood: Callable,
    dimensions: int,
    key,
    *,
    simulations: int = 200,
    draws: int = 100,
    warmup: int = 150,
    thin: int = 3,
    leaps: int = 8,
    batch: int = 200,
    bins: int = 10,
) -> Calibration:
    """Ranks of parameters drawn from the prior among draws of their posteriors [Talts et al. 2018].

    All simulations are sampled side by side by Hamiltonian Monte Carlo of a fixed number of steps
    (lanes stay together), its step size and metric adapted in each by itself.

    Args:
        simulate: (unit (d,), key) -> data.
        log_likelihood: (data, unit (d,)) -> (); differentiable.
        dimensions: d.
        key: of everything random.
        simulations: how many.
        draws: L of each.
        warmup: adaptation steps.
        thin: steps between draws.
        leaps: leapfrog steps.
        batch: simulations at a time.
        bins: of the chi-squared test.
    """
    from scipy import stats

    blackjax = _import("blackjax")

    def one(key):
        truth_key, data_key, warm_key, run_key = jax.random.split(key, 4)
        truth = jax.random.uniform(truth_key, (dimensions,), jnp.float64)
        data = simulate(truth, data_key)
        density = _density(functools.partial(log_likelihood, data))
        warm = blackjax.window_adaptation(
            blackjax.hmc, density, num_integration_steps=leaps, target_acceptance_rate=0.8
        )
        middle = jnp.zeros(dimensions)
        (state, parameters), _ = warm.run(warm_key, middle, num_steps=warmup)
        kernel = blackjax.hmc(density, **parameters)

        def step(state, key):
            def inner(state, key):
                state, info = kernel.step(key, state)
                return state, info.acceptance_rate

            state, rate = jax.lax.scan(inner, state, jax.random.split(key, thin))
            return state, (state.position, rate.mean())

        _, (z, rate) = jax.lax.scan(step, state, jax.random.split(run_key, draws))
        unit = jax.nn.sigmoid(z)
        rank = jnp.sum(unit < truth[None], axis=0)
        return rank, unit.var(axis=0), rate.mean()

    with _as_blackjax_wants():
        run = jax.jit(lambda keys: jax.lax.map(one, keys, batch_size=batch))
        ranks, variance, rate = map(np.asarray, run(jax.random.split(key, simulations)))
    p = []
    for column in ranks.T:
        counts = np.bincount(np.minimum(column * bins // (draws + 1), bins - 1), minlength=bins)
        edges = np.ceil(np.arange(bins + 1) * (draws + 1) / bins)  # ranks a bin holds
        p.append(stats.chisquare(counts, np.diff(edges) / (draws + 1) * simulations).pvalue)
    share = (ranks + 0.5) / (draws + 1)
    inside = lambda q: (np.abs(share - 0.5) <= q / 2).mean(axis=0)
    contraction = 1 - variance.mean(axis=0) * 12
    return Calibration(
        ranks, draws, np.array(p), inside(0.6827), inside(0.9545), contraction, float(rate.mean())
    )
