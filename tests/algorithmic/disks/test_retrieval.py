import jax
import jax.numpy as jnp
import numpy as np
import pytest

from algorithmic.disks import forward, lamda, lines, mlp, radiation, retrieval, tracer
from fl_jax.core import errors

PRIORS = {"a": retrieval.Prior(1.0, 100.0, True), "b": retrieval.Prior(-1.0, 1.0)}


def test_priors_there_and_back():
    unit = np.array([0.5, 0.25])
    values = retrieval.from_cube(PRIORS, unit)
    assert values["a"] == pytest.approx(10.0) and values["b"] == -0.5
    np.testing.assert_allclose(retrieval.to_cube(PRIORS, values), unit)


def test_likelihoods_are_normal_densities():
    from scipy import stats

    with jax.enable_x64(True):
        d, m = jnp.asarray([1.0, 2.0]), jnp.asarray([0.5, 2.5])
        wanted = stats.norm.logpdf(d, m, np.hypot(0.3, 0.4)).sum()
        assert float(retrieval.gaussian(d, m, 0.3, 0.4)) == pytest.approx(wanted)
        # With an error of the amplitude that all data share: the dense normal density.
        covariance = 0.25 * np.eye(2) + 0.2**2 * np.outer([0.5, 2.5], [0.5, 2.5])
        wanted = stats.multivariate_normal.logpdf([1.0, 2.0], [0.5, 2.5], covariance)
        found = retrieval.gaussian(d, m, 0.3, 0.4, modes=0.2 * m[None])
        assert float(found) == pytest.approx(wanted)


def toy(unit):
    return retrieval.gaussian(jnp.asarray([0.4, 0.6]), unit, 0.1)


@pytest.mark.slow
def test_nuts_finds_a_gaussian_and_the_calibration_is_flat():
    pytest.importorskip("blackjax")
    found = retrieval.nuts(toy, np.full(2, 0.5), jax.random.key(0), draws=400, warmup=200)
    np.testing.assert_allclose(found.unit.mean(0), [0.4, 0.6], atol=0.03)
    np.testing.assert_allclose(found.unit.std(0), 0.1, atol=0.03)
    simulate = lambda unit, key: unit + 0.1 * jax.random.normal(key, unit.shape, unit.dtype)
    likelihood = lambda data, unit: retrieval.gaussian(data, unit, 0.1)
    good = retrieval.calibrate(simulate, likelihood, 2, jax.random.key(1), draws=49)
    assert good.p.min() > 0.005
    wrong = lambda data, unit: retrieval.gaussian(data, unit + 0.1, 0.1)
    bad = retrieval.calibrate(simulate, wrong, 2, jax.random.key(1), draws=49)
    assert bad.p.min() < 1e-4


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_nested_sampling_finds_a_known_evidence():
    pytest.importorskip("ultranest")
    likelihood = lambda unit: -0.5 * np.sum(((unit - 0.5) / 0.05) ** 2, axis=1)
    found = retrieval.nested(likelihood, ["x", "y"], live=200)
    wanted = 2 * np.log(0.05 * np.sqrt(2 * np.pi))
    assert abs(found.log_z - wanted) < 4 * found.error


def test_a_missing_sampler_is_a_sentence():
    with pytest.raises(errors.ConfigError, match="install the extra `retrieval`"):
        retrieval._import("no_such_sampler")


def test_the_forward_model_is_differentiable():
    names = ("numberdens", "temperature", "uv", "ionization")
    zeros, ones = np.zeros(4), np.ones(4)
    layers = [(jnp.full((4, 1), 0.01), jnp.full(1, -4.5))]
    model = mlp.MLP(names, ("CO",), layers, zeros, ones, np.zeros(1), np.ones(1))
    molecule = lamda.rotor("13CO")
    setup = forward.Setup(
        molecule, lines.line_of(molecule, "2-1"), "CO", 69.0, {"mass_star": 0.7},
        {"chi_star": 1e3}, tracer.View(30.0, 25.0, 150.0),
        tracer.Physics(mass_star=0.7, turbulence=0.3), np.linspace(-3, 3, 7),
        np.geomspace(5, 200, 8), radiation.heights(8), rays=(4, 8), samples=6,
    )  # fmt: skip
    truth = {"mass_gas": 1e-3, "t_mid": 150.0}
    with jax.enable_x64(True):
        flux = jax.jit(lambda v: forward.spectrum(setup, v, model=model).sum())
        slopes = jax.jit(jax.grad(lambda v: forward.spectrum(setup, v, model=model).sum()))(truth)
        for name, value in truth.items():
            up, down = (flux({**truth, name: value * (1 + s)}) for s in (1e-3, -1e-3))
            slope = float(up - down) / (2e-3 * value)
            assert float(slopes[name]) == pytest.approx(slope, rel=0.02)  # float32 inside
        assert float(flux(truth)) > 0


def test_priors_that_are_none_are_refused():
    one = np.array([0.5])
    for bad in (
        (0.0, 1.0, True),
        (-1.0, 1.0, True),
        (1.0, 0.0),
        (1.0, 1.0),
        (np.nan, 1.0),
        (0.0, np.inf),
    ):
        priors = {"mass": retrieval.Prior(*bad)}
        with pytest.raises(errors.ConfigError, match="the prior of mass should rise"):
            retrieval.from_cube(priors, one)
        with pytest.raises(errors.ConfigError, match="the prior of mass should rise"):
            retrieval.to_cube(priors, {"mass": 0.5})
    with pytest.raises(errors.ConfigError, match="as many coordinates"):
        retrieval.from_cube({"mass": retrieval.Prior(0.0, 1.0)}, np.full(2, 0.5))


def test_a_chain_that_cannot_begin_says_so():
    pytest.importorskip("blackjax")
    nowhere = lambda unit: jnp.sum(unit) * jnp.nan
    with pytest.raises(errors.DataError, match="not finite where the chain began"):
        retrieval.nuts(nowhere, np.array([0.5]), jax.random.key(0), draws=2, warmup=2, deepest=1)


def test_what_lies_outside_its_prior_has_no_point():
    """2 in a cube of 1, and NaN below a logarithmic prior; a sampler began elsewhere then."""
    edges = retrieval.to_cube(PRIORS, {k: p.high for k, p in PRIORS.items()})
    np.testing.assert_array_equal(edges, 1.0)
    good = {k: p.low for k, p in PRIORS.items()}
    for bad, came in ((1e9, "1e\\+09"), (-1e9, "-1e\\+09"), (np.nan, "nan")):
        with pytest.raises(
            errors.ConfigError, match=f"a must lie in its prior, .* but {came} came"
        ):
            retrieval.to_cube(PRIORS, {**good, "a": bad})
    with pytest.raises(errors.ConfigError, match="but none came"):
        retrieval.to_cube(PRIORS, {"b": good["b"]})


def test_one_chain_cannot_be_compared():
    pytest.importorskip("blackjax")
    with pytest.raises(errors.ConfigError, match="two chains or more, got 1"):
        retrieval.convergence(np.zeros((1, 10, 2)))
