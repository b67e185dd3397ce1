"""Every randomizer: unbiased estimates, probabilities as the accountant has them."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from privacy.accounting.errors import PrivacyError
from privacy.shuffle import condition, mechanisms, randomizers

K, EPS0, USERS = 6, 1.5, 8_000


@pytest.mark.parametrize(
    "made",
    [
        randomizers.randomized_response(K, EPS0),
        randomizers.subset_selection(K, 2, EPS0),
        randomizers.unary_encoding(K, EPS0),
        randomizers.rappor(K, EPS0),
        randomizers.hadamard_response(K, EPS0),
        randomizers.local_hashing(K, 4, EPS0),
    ],
)
def test_frequencies_are_unbiased(made, key):
    symbols = jnp.asarray(np.repeat(np.arange(K), [4_000, 2_000, 1_000, 1_000, 0, 0]), jnp.int32)
    keys = jax.random.split(key, USERS)
    reports = jax.jit(jax.vmap(made.randomize))(keys, symbols)
    found = np.asarray(jax.jit(made.estimate)(reports))
    np.testing.assert_allclose(found, [0.5, 0.25, 0.125, 0.125, 0, 0], atol=0.08)


def test_response_probabilities_are_the_accountants(key):
    made = randomizers.randomized_response(K, EPS0)
    keys = jax.random.split(key, USERS)
    reports = np.asarray(jax.vmap(made.randomize, (0, None))(keys, jnp.int32(2)))
    expected = mechanisms.RandomizedResponse(K).matrix(EPS0)[2]
    np.testing.assert_allclose(np.bincount(reports, minlength=K) / USERS, expected, atol=0.025)


@pytest.mark.parametrize("dimension, eps0", [(5, 0.5), (40, 2.0), (300, 5.0)])
def test_privunit_is_unbiased_and_has_its_cap(dimension, eps0, key):
    made = randomizers.privunit(dimension, eps0, radius=2.0)
    x = jnp.zeros(dimension).at[1].set(-7.0)
    reports = jax.jit(jax.vmap(made.randomize, (0, None)))(jax.random.split(key, 4_000), x)
    g = mechanisms.best_cap(dimension, eps0)
    m = mechanisms.mean_projection(dimension, eps0, g)
    np.testing.assert_allclose(np.linalg.norm(reports, axis=1), 2 / m, rtol=1e-4)
    mean = np.asarray(made.estimate(reports))
    noise = 5 * 2 / m / math.sqrt(4_000 * dimension)
    assert abs(mean[1] + 2) < 3 * noise and np.abs(np.delete(mean, 1)).max() < 1.5 * noise
    s = mechanisms.cap_mass(dimension, g)
    inside = math.exp(eps0) * s / (1 - s + math.exp(eps0) * s)
    share = np.mean(-np.asarray(reports)[:, 1] * m / 2 >= g)
    assert share == pytest.approx(inside, abs=0.035)


def test_a_zero_record_becomes_a_random_direction(key):
    made = randomizers.privunit(10, 1.0)
    reports = jax.vmap(made.randomize, (0, None))(jax.random.split(key, 4000), jnp.zeros(10))
    assert np.isfinite(reports).all()
    assert np.abs(np.asarray(made.estimate(reports))).max() < 0.3


CORNERS = np.array(list(itertools.product((-1.0, 1.0), repeat=3)))


@pytest.mark.parametrize("eps0", [0.3, 1.2, 5.0])
def test_cldp_has_its_eps0_by_enumeration(eps0):
    """Over all corners of the cube and inputs inside it; the corners attain it exactly."""
    inside = np.random.default_rng(0).uniform(-1, 1, (200, 3))
    matrix = randomizers.cldp_matrix(np.concatenate([CORNERS, inside]), eps0)
    np.testing.assert_allclose(matrix.sum(1), 1, rtol=1e-12)
    assert condition.local_epsilon(matrix) == pytest.approx(eps0, rel=1e-12)
    assert condition.local_epsilon(matrix[8:]) < eps0
    d = 3
    low = 1 / (d * (math.exp(eps0) + 1))
    assert matrix.min() == pytest.approx(low, rel=1e-12)
    assert matrix.max() == pytest.approx(low * math.exp(eps0), rel=1e-12)


@pytest.mark.parametrize("turned", [False, True])
def test_cldp_reports_as_enumerated_and_is_unbiased(turned, key):
    d, eps0, radius = 3, 1.2, 0.5
    basis = randomizers.rotation(d, 1) if turned else None
    made = randomizers.cldp(d, eps0, radius=radius, basis=basis)
    x = jnp.array([0.5, -0.2, 0.0])
    coordinates = np.asarray(x if basis is None else basis @ x)
    assert np.abs(coordinates).max() <= radius  # nothing is clipped
    j, b = jax.jit(jax.vmap(made.randomize, (0, None)))(jax.random.split(key, USERS), x)
    seen = np.bincount(np.asarray(j) + d * (np.asarray(b) < 0), minlength=2 * d) / USERS
    expected = randomizers.cldp_matrix(coordinates[None] / radius, eps0)[0]
    np.testing.assert_allclose(seen, expected, atol=5 * math.sqrt(0.16 / USERS))
    np.testing.assert_allclose(made.estimate((j, b)), x, atol=0.08)


def test_cldp_clips_what_is_outside_its_cube(key):
    made = randomizers.cldp(2, 8.0, radius=1.0)
    reports = jax.vmap(made.randomize, (0, None))(jax.random.split(key, 2_000), jnp.full(2, 9.0))
    assert np.mean(np.asarray(reports[1]) == 1) > 0.995


def test_a_rotation_is_orthonormal_and_spreads():
    basis = np.asarray(randomizers.rotation(256, 3))
    np.testing.assert_allclose(basis @ basis.T, np.eye(256), atol=1e-5)
    assert np.abs(basis[:, 0]).max() < 5 / 16


def test_clipped_noise_is_unbiased(key):
    keys = jax.random.split(key, USERS)
    laplace = randomizers.laplace(2.0)
    found = laplace.estimate(jax.vmap(laplace.randomize, (0, None))(keys, jnp.float32(1.7)))
    assert float(found) == pytest.approx(1.0, abs=0.04)
    gaussian = randomizers.gaussian(1.0, 0.5)
    sent = jax.vmap(gaussian.randomize, (0, None))(keys, jnp.array([3.0, 4.0]))
    np.testing.assert_allclose(gaussian.estimate(sent), [0.6, 0.8], atol=0.04)


def test_a_symbol_outside_the_alphabet_counts_as_0(key):
    symbols = jnp.array([0, -1, K, 1_000_000], jnp.int32)
    for made in (
        randomizers.randomized_response(K, EPS0),
        randomizers.subset_selection(K, 2, EPS0),
        randomizers.unary_encoding(K, EPS0),
        randomizers.rappor(K, EPS0),
        randomizers.hadamard_response(K, EPS0),
        randomizers.local_hashing(K, 4, EPS0),
    ):
        keys = jax.random.split(key, 20)
        sent = jax.jit(jax.vmap(jax.vmap(made.randomize, (None, 0)), (0, None)))(keys, symbols)
        for report in map(np.asarray, jax.tree.leaves(sent)):
            np.testing.assert_array_equal(report, np.repeat(report[:, :1], 4, axis=1))


def test_what_is_not_finite_counts_as_0(key):
    wrong = jnp.array([0.0, jnp.nan, jnp.inf, -jnp.inf], jnp.float32)
    vectors = jnp.stack([jnp.zeros(4), wrong, *(wrong.at[1].set(w) for w in wrong[2:])])
    cases = {
        "Laplace": (randomizers.laplace(1.0), wrong),
        "Gaussian": (randomizers.gaussian(1.0, 0.1), vectors),
        "PrivUnit": (randomizers.privunit(4, 1.0), vectors),
        "CLDP": (randomizers.cldp(4, 1.0), vectors),
        "CLDP, turned": (randomizers.cldp(4, 1.0, basis=randomizers.rotation(4, 0)), vectors),
    }
    for made, records in cases.values():
        keys = jax.random.split(key, 20)
        sent = jax.jit(jax.vmap(jax.vmap(made.randomize, (None, 0)), (0, None)))(keys, records)
        for report in map(np.asarray, jax.tree.leaves(sent)):
            np.testing.assert_array_equal(report, np.repeat(report[:, :1], 4, axis=1))


def test_the_length_of_a_record_is_no_matter_to_privunit(key):
    """float32 squares overflow from 1.8e19 on and vanish below 1e-23."""
    made = randomizers.privunit(64, 3.5)
    x = jnp.zeros(64).at[0].set(0.6).at[5].set(-0.8)
    records = x[None] * jnp.array([1.0, 1e-30, 1e-3, 1e18, 1e20, 3e38], jnp.float32)[:, None]
    found = np.asarray(jax.jit(jax.vmap(made.randomize, (None, 0)))(key, records))
    np.testing.assert_allclose(found, np.repeat(found[:1], 6, axis=0), rtol=1e-4, atol=1e-5)
    expected = 1 / mechanisms.mean_projection(64, 3.5, mechanisms.best_cap(64, 3.5))
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), expected, rtol=1e-4)


def test_long_vectors_are_clipped_to_the_radius():
    for size in (4.0, 1e20, 3e38):
        found = randomizers.clip(jnp.array([0.6, -0.8, 0.0], jnp.float32) * size, 2.0)
        np.testing.assert_allclose(found, [1.2, -1.6, 0.0], rtol=1e-6)
    short = jnp.array([1e-20, -2e-20], jnp.float32)
    np.testing.assert_array_equal(randomizers.clip(short, 1.0), short)


FACTORIES = {
    "randomized response": lambda eps0: randomizers.randomized_response(K, eps0),
    "subset selection": lambda eps0: randomizers.subset_selection(K, 2, eps0),
    "unary encoding": lambda eps0: randomizers.unary_encoding(K, eps0),
    "RAPPOR": lambda eps0: randomizers.rappor(K, eps0),
    "Hadamard response": lambda eps0: randomizers.hadamard_response(K, eps0),
    "local hashing": lambda eps0: randomizers.local_hashing(K, 4, eps0),
    "Laplace": randomizers.laplace,
    "PrivUnit": lambda eps0: randomizers.privunit(16, eps0),
    "CLDP": lambda eps0: randomizers.cldp(4, eps0),
}


@pytest.mark.parametrize("name", FACTORIES)
def test_a_budget_that_is_none_is_refused(name):
    for eps0 in (-1.0, 0.0, math.nan, math.inf, 1000.0):
        with pytest.raises(PrivacyError, match="eps0 must be"):
            FACTORIES[name](eps0)
    FACTORIES[name](300.0)


@pytest.mark.parametrize(
    "call",
    [
        lambda: randomizers.randomized_response(1, 1.0),
        lambda: randomizers.unary_encoding(1, 1.0),
        lambda: randomizers.hadamard_response(0, 1.0),
        lambda: randomizers.local_hashing(K, 1, 1.0),
        lambda: randomizers.gaussian(-1.0, 1.0),
        lambda: randomizers.gaussian(1.0, 0.0),
        lambda: randomizers.privunit(16, 1.0, radius=-1.0),
        lambda: randomizers.cldp(0, 1.0),
        lambda: randomizers.cldp(4, 1.0, radius=0.0),
        lambda: randomizers.rotation(0, 0),
    ],
)
def test_sizes_and_scales_that_are_none_are_refused(call):
    with pytest.raises(PrivacyError, match="must be"):
        call()


@pytest.mark.parametrize("rare", [2.0**-11 * 1.3, 2.0**-12, 2.0**-10 * 0.6])
def test_what_is_rare_happens_as_often_as_it_should(rare, key):
    trials = 1_000_000
    coin = jax.jit(lambda k: jnp.sum(randomizers._coin(k, rare, 1 - rare, (trials,))))
    other = jax.jit(lambda k: jnp.sum(~randomizers._coin(k, 1 - rare, rare, (trials,))))
    for found in (coin(key), other(jax.random.fold_in(key, 1))):
        assert abs(int(found) - rare * trials) < 4.5 * math.sqrt(rare * trials)


@pytest.mark.parametrize("eps0", [17.0, 40.0, 300.0])
def test_no_budget_gives_a_report_away(eps0, key, monkeypatch):
    """Where the random bits say that the rare case is there, it is there at any budget."""
    bits = lambda key, shape, dtype: jnp.zeros(shape, dtype)
    monkeypatch.setattr(jax.random, "bits", bits)
    plain = jax.random.bernoulli
    monkeypatch.setattr(
        jax.random, "bernoulli",
        lambda key, p=0.5, shape=None: jnp.ones(shape or (), bool) if shape is not None
        else plain(key, p),
    )  # fmt: skip
    one = jnp.int32(1)
    assert int(randomizers.randomized_response(2, eps0).randomize(key, one)) == 0
    assert not randomizers.subset_selection(K, 2, eps0).randomize(key, one)[1]
    assert randomizers.unary_encoding(K, eps0).randomize(key, one)[0]
    column = randomizers.hadamard_response(2, eps0).randomize(key, jnp.int32(0))
    assert int(column) & 1  # the row's sign is -1
    _, sign = randomizers.cldp(4, eps0).randomize(key, jnp.ones(4))
    assert int(sign) == -1
    if eps0 >= 40:
        assert not randomizers.rappor(K, eps0).randomize(key, one)[1]


def test_cldp_at_a_large_budget_is_unbiased(key):
    made = randomizers.cldp(2, 8.0)
    x = jnp.array([0.5, -0.25], jnp.float32)
    reports = jax.jit(jax.vmap(made.randomize, (0, None)))(jax.random.split(key, 40_000), x)
    np.testing.assert_allclose(made.estimate(reports), x, atol=0.04)
