import time

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
    """Of a correlated Gaussian in five dimensions, as narrow as the retrieval's posteriors."""
    pytest.importorskip("ultranest")
    correlation = 0.5 * np.eye(5) + 0.5
    covariance = 0.08**2 * correlation
    inverse = np.linalg.inv(covariance)
    calls = []

    def likelihood(unit):
        calls.append(len(unit))
        return -0.5 * np.einsum("ni,ij,nj->n", unit - 0.5, inverse, unit - 0.5)

    wanted = 0.5 * np.linalg.slogdet(2 * np.pi * covariance)[1]
    heard = []
    tell = lambda calls, log_z: heard.append((calls, log_z))
    found = [retrieval.nested(likelihood, list("abcde"), live=64, seed=s) for s in range(3)]
    found.append(retrieval.nested(likelihood, list("abcde"), live=200, progress=tell))
    for one in found:
        assert one.finished and one.calls < 20_000
        assert abs(one.log_z - wanted) < 3 * one.error
        np.testing.assert_allclose(one.unit.mean(0), 0.5, atol=5 * 0.08 / np.sqrt(one.effective))
        np.testing.assert_allclose(one.unit.std(0), 0.08, rtol=0.25)
    assert found[3].error < 0.8 * found[0].error and found[3].effective > 2 * found[0].effective
    assert heard and heard[-1][1] > heard[0][1]

    few = retrieval.nested(likelihood, list("abcde"), live=20, calls=300)
    assert not few.finished and few.calls < 700


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_clock_has_no_say_in_nested_sampling():
    """Where many proposals are refused UltraNest makes more, and looks at that now and then."""
    pytest.importorskip("ultranest")
    calls = []

    def rough(unit):
        return np.sum(np.cos(80 * unit) - 40 * (unit - 0.5) ** 2, axis=1)

    def slowly(unit):
        calls.append(len(unit))
        if len(calls) % 3 == 0:
            time.sleep(0.02)
        return rough(unit)

    found = [retrieval.nested(f, list("abcde"), live=40, calls=12_000) for f in (rough, slowly)]
    assert found[0].calls == found[1].calls and found[0].log_z == found[1].log_z
    np.testing.assert_array_equal(found[0].unit, found[1].unit)
    assert max(calls) > 25  # more than the 20 that it begins with


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_nested_sampling_and_nuts_find_the_same_posterior():
    """Of a curved likelihood, whose means and deviations the plain sum over a grid gives, too."""
    pytest.importorskip("ultranest")
    pytest.importorskip("blackjax")

    def log_likelihood(unit):
        bent = jnp.stack([unit[0], unit[1] + 2 * (unit[0] - 0.5) ** 2])
        return retrieval.gaussian(jnp.asarray([0.4, 0.6]), bent, jnp.asarray([0.1, 0.05]))

    def many(unit):
        with jax.enable_x64(True):
            return np.asarray(jax.vmap(log_likelihood)(jnp.asarray(unit)))

    axis = (np.arange(400) + 0.5) / 400
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    weight = np.exp(many(grid))
    mean = weight @ grid / weight.sum()
    deviation = np.sqrt(weight @ (grid - mean) ** 2 / weight.sum())
    chain = retrieval.nuts(log_likelihood, np.full(2, 0.5), jax.random.key(0), draws=800)
    nested = retrieval.nested(many, ["x", "y"], live=300)
    assert abs(nested.log_z - np.log(weight.mean())) < 3 * nested.error
    for unit in (chain.unit, nested.unit):
        np.testing.assert_allclose(unit.mean(0), mean, atol=0.2 * deviation.min())
        np.testing.assert_allclose(unit.std(0), deviation, rtol=0.2)


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


@pytest.mark.parametrize("angles", [1, 2, 5, 6, 8])
def test_half_of_the_rays_say_what_the_others_are(angles):
    """Where channels lie about the systemic velocity; elsewhere every ray is traced."""
    molecule = lamda.rotor("13CO")
    view = tracer.View(40.0, 25.0, 150.0, 1.5)
    setup = forward.Setup(
        molecule, lines.line_of(molecule, "2-1"), "CO", 69.0, {"mass_star": 0.7}, {}, view,
        tracer.Physics(mass_star=0.7), 1.5 + np.linspace(-3, 3, 6), np.geomspace(5, 200, 6),
        radiation.heights(6), rays=(3, angles), samples=4,
    )  # fmt: skip
    other = setup._replace(velocities=np.append(setup.velocities, 9.0)[[0, *range(6), 6]])
    with jax.enable_x64(True):
        x = jnp.full(36, -5.0)
        sky, half, _ = forward.rays(setup, {}, x)
        traced = len(forward._mirrored(setup, view)[0])
        assert len(forward._mirrored(other, view)[0]) == 3 * angles
        assert traced == {1: 3, 2: 6, 5: 15, 6: 12, 8: 12}[angles]
        grid, _ = forward.cells(setup, {})
        field = forward.medium(setup, grid, x)
        every = tracer.trace(
            field, setup.line, view, setup.physics, sky.x, sky.y, jnp.asarray(setup.velocities),
            samples=4,
        )  # fmt: skip
        every = tracer.flux_density(every, sky, view.distance)
        every = every - 0.5 * (every[:, :1] + every[:, -1:])
        np.testing.assert_allclose(half, every, rtol=1e-9, atol=1e-12 * float(every.max()))
        moving = jax.jacfwd(lambda v: forward.spectrum(setup, {"velocity": v}, x))(1.5)
        assert np.abs(moving).max() > 0  # a free velocity is not mirrored


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
