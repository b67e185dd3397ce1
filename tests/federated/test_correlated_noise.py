import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.federated import correlated_noise
from privacy.factorization import banded, buffered, toeplitz, tree, workload

ROUNDS = 11
FREE = banded.optimise(np.ones(ROUNDS), 4)
COEFFICIENTS = toeplitz.optimise(np.ones(ROUNDS), 4, 4)
BUFFERS = buffered.optimise(np.ones(ROUNDS), 2, ROUNDS)
# name: (correlation, the factor C, models that are kept)
FACTORS = {
    "independent": (correlated_noise.banded(np.ones(1), ROUNDS), np.eye(ROUNDS), 0),
    "two bands": (
        correlated_noise.banded(np.array([2.0, 0.5]), ROUNDS),
        workload.matrix(np.array([2.0, 0.5]), ROUNDS),
        1,
    ),
    "Toeplitz": (
        correlated_noise.banded(COEFFICIENTS, ROUNDS),
        workload.matrix(COEFFICIENTS, ROUNDS),
        3,
    ),
    "banded": (correlated_noise.banded(banded.rows(FREE, 4), ROUNDS), FREE, 3),
    "buffered": (
        correlated_noise.buffered(*BUFFERS, ROUNDS),
        workload.matrix(buffered.coefficients(BUFFERS, ROUNDS)),
        2,
    ),
    "tree": (correlated_noise.binary_tree(ROUNDS), tree.factor(ROUNDS), 3),
    "tree of 8": (correlated_noise.binary_tree(8), tree.factor(8), 3),
    "tree of 1": (correlated_noise.binary_tree(1), tree.factor(1), 0),
}


def through(correlation, draws):
    """What comes out of these draws (rounds, numbers), round by round."""

    def one(state, item):
        round, z = item
        out, state = correlation.step({"a": z[:1], "b": z[1:]}, round, state)
        return state, jnp.concatenate([out["a"], out["b"]])

    state = correlation.init({"a": jnp.zeros(1), "b": jnp.zeros(draws.shape[1] - 1)})
    rounds = jnp.arange(draws.shape[0])
    return jax.lax.scan(one, state, (rounds, jnp.asarray(draws, jnp.float32)))[1]


@pytest.mark.parametrize("name", FACTORS)
def test_unit_impulses_give_the_columns_of_the_inverse(name):
    correlation, factor, kept = FACTORS[name]
    n = factor.shape[0]
    assert correlation.rounds == n
    assert correlation.memory == kept
    got = through(correlation, np.eye(n)) if n > 1 else through(correlation, np.ones((1, 2)))[:, :1]
    np.testing.assert_allclose(got, np.linalg.inv(factor), atol=1e-6)
    state = correlation.init({"w": jnp.zeros((5, 2))})
    assert [leaf.shape for leaf in jax.tree.leaves(state)] == [(kept, 5, 2)] * (kept > 0)


@pytest.mark.parametrize("name", ["Toeplitz", "tree"])
def test_noise_has_the_covariance_of_the_inverse(name):
    correlation, factor, _ = FACTORS[name]
    draws = jax.random.normal(jax.random.key(0), (ROUNDS, 100_000))
    out = np.asarray(through(correlation, draws), np.float64)
    inverse = np.linalg.inv(factor)
    want = inverse @ inverse.T
    error = np.sqrt((want**2 + np.outer(np.diag(want), np.diag(want))) / out.shape[1])
    assert np.all(np.abs(out @ out.T / out.shape[1] - want) < 5 * error)
    assert np.abs(want - np.diag(np.diag(want))).max() > 0.3  # the test can tell


@pytest.mark.parametrize("kind", ["banded", "buffered"])
def test_a_long_recursion_stays_as_exact_as_its_numbers(kind):
    rounds = 3000
    if kind == "banded":
        c = toeplitz.optimise(np.ones(rounds), 16, 16)
        correlation = correlated_noise.banded(c, rounds)
    else:
        found = buffered.optimise(np.ones(rounds), 2, rounds)
        assert found.decays.max() > 0.995
        c = buffered.coefficients(found, rounds)
        correlation = correlated_noise.buffered(*found, rounds)
    draws = np.random.default_rng(0).normal(size=(rounds, 2)).astype(np.float32)
    got = through(correlation, draws)
    want = np.linalg.solve(workload.matrix(c, rounds), draws.astype(float))
    np.testing.assert_allclose(got, want, atol=2e-5)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: correlated_noise.banded(np.ones((3, 2)), 4), r"\(4, bands\) for 4 rounds"),
        (lambda: correlated_noise.banded(np.zeros(0), 4), r"an array of shape \(0,\)"),
        (lambda: correlated_noise.banded(np.array([0.0, 1.0]), 4), "its diagonal above 0"),
        (lambda: correlated_noise.banded(np.array([1.0, np.nan]), 4), "must be finite"),
        (lambda: correlated_noise.banded(np.ones(1), 0), "rounds must be a whole number of 1"),
        (lambda: correlated_noise.buffered(np.ones(2), np.ones(1), 4), r"shapes \(2,\) and \(1,\)"),
        (lambda: correlated_noise.buffered(np.ones(1), np.ones(1), 4), r"decays lie in \[0, 1\)"),
        (lambda: correlated_noise.buffered(np.zeros(1), np.full(1, np.nan), 4), "weights must be"),
        (lambda: correlated_noise.buffered(np.ones(1), np.zeros(1), 0), "rounds must be a whole"),
        (lambda: correlated_noise.binary_tree(0), "rounds must be a whole number of 1"),
    ],
)
def test_bad_factors_are_refused(call, said):
    with pytest.raises(errors.ConfigError, match=said):
        call()
