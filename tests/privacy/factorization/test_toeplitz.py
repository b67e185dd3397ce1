import numpy as np
import pytest
from scipy import optimize, special

from privacy.accounting.errors import PrivacyError
from privacy.factorization import sensitivity, toeplitz, tree, workload

WORKLOADS = {
    "prefix": workload.momentum(24),
    "momentum": workload.momentum(24, 0.9),
    "cooldown": workload.scheduled(np.linspace(1, 0, 24), 0.5),
}


@pytest.mark.parametrize("name", WORKLOADS)
def test_the_error_and_its_derivative_are_those_of_the_matrices(name):
    of = WORKLOADS[name]
    c = np.array([1.2, 0.5, -0.2, 0.1])
    brute = lambda c: np.sum((workload.matrix(of) @ np.linalg.inv(workload.matrix(c, 24))) ** 2)
    error, slope = toeplitz.error_and_slope(of, c)
    assert error == pytest.approx(brute(c), rel=1e-10)
    assert toeplitz.squared_error(of, c) == error
    np.testing.assert_allclose(slope, optimize.approx_fprime(c, brute, 1e-7), rtol=2e-5)


@pytest.mark.parametrize("beta", [0.0, 0.9])
def test_the_square_root_squares_to_the_workload(beta):
    of = workload.momentum(20, beta)
    root = toeplitz.square_root(of, 20)
    np.testing.assert_allclose(np.convolve(root, root)[:20], of, rtol=1e-12)
    if not beta:
        k = np.arange(20)
        np.testing.assert_allclose(root, special.binom(2 * k, k) / 4.0**k, rtol=1e-12)


@pytest.mark.parametrize("rounds", [1, 7, 300])
def test_one_participation_costs_the_root_of_prefix_sums_its_closed_form(rounds):
    """B is C, whose rows hold r_k = binom(2k, k) / 4^k: row t has the length of their first t."""
    k = np.arange(rounds)
    squares = np.cumsum(np.exp(2 * (special.gammaln(k + 0.5) - special.gammaln(k + 1))) / np.pi)
    found = toeplitz.rmse(np.ones(rounds), toeplitz.square_root(np.ones(rounds), rounds), rounds)
    assert found == pytest.approx(np.sqrt(squares[-1] * squares.mean()), rel=1e-6)


def test_the_largest_error_grows_by_the_published_constant():
    """Sensitivity and the last row of B are both the root of the sum of r_k^2, Landau's constant
    (log n + gamma + 4 log 2) / pi + O(1 / n) [Fichtenberger et al. 2023 have log(n) / pi + 1]."""
    n = 10_000
    root = toeplitz.square_root(np.ones(n), n)
    assert root @ root == pytest.approx((np.log(n) + np.euler_gamma + np.log(16)) / np.pi, rel=1e-4)


@pytest.mark.parametrize(("rounds", "beta"), [(2000, 0.0), (10_000, 0.0), (10_000, 0.9)])
def test_thousands_of_rounds_stay_at_a_stationary_point(rounds, beta):
    of = workload.momentum(rounds, beta)
    c = toeplitz.optimise(of, 32, 32)
    error, slope = toeplitz.error_and_slope(of, c)
    counts = [len(range(i, rounds, 32)) for i in range(32)]  # columns that reach so far down
    gradient = slope / error + 2 * c * counts / (counts @ (c * c))  # of the logarithm
    assert np.abs(gradient).max() < 1e-3
    assert toeplitz.rmse(of, c, 32) < toeplitz.rmse(of, toeplitz.square_root(of, 32), 32)


def test_coefficients_beyond_the_rounds_are_nothing():
    c = 0.5 ** np.arange(8)
    assert toeplitz.rmse(np.ones(3), c, 8) == toeplitz.rmse(np.ones(3), c[:3], 8)


@pytest.mark.parametrize("rounds", [64, 512, 2048])
def test_one_participation_is_within_the_published_bound(rounds):
    """1 + log(n)/pi for the root, on the largest error and so on the mean [Fichtenberger et al.
    2023], and no factor is better than log(n)/pi less a constant."""
    of = workload.momentum(rounds)
    root = toeplitz.rmse(of, toeplitz.square_root(of, rounds), rounds)
    best = toeplitz.rmse(of, toeplitz.optimise(of, min(rounds, 128), rounds), rounds)
    assert best < toeplitz.rmse(of, toeplitz.square_root(of, min(rounds, 128)), rounds)
    assert np.log(rounds) / np.pi - 0.3 < root < 1 + np.log(rounds) / np.pi


@pytest.mark.parametrize("rounds", [64, 256, 1024, 2048])
def test_optimised_bands_beat_independent_noise_and_trees(rounds):
    of = workload.momentum(rounds)
    for separation in (8, 16):
        found = toeplitz.rmse(of, toeplitz.optimise(of, separation, separation), separation)
        assert found < 0.75 * toeplitz.rmse(of, np.ones(1), separation)
        assert found < 0.75 * tree.rmse(rounds, separation)


@pytest.mark.parametrize("name", WORKLOADS)
def test_no_neighbouring_coefficients_are_better_and_more_bands_never_worse(name):
    of, draw = WORKLOADS[name], np.random.default_rng(1)
    values = []
    for bands in (1, 2, 4, 8):
        c = toeplitz.optimise(of, bands, 8)
        values.append(toeplitz.rmse(of, c, 8))
        for _ in range(20 if bands > 1 else 0):
            other = c + np.r_[0, 1e-3 * draw.normal(size=bands - 1)]
            assert toeplitz.rmse(of, other, 8) > values[-1]
    assert values == sorted(values, reverse=True)


def test_an_error_is_the_spread_of_what_noise_adds_up_to():
    """Unit noise through C^-1, summed over rounds, by drawing it."""
    c, n, draw = toeplitz.optimise(np.ones(16), 4, 4), 16, np.random.default_rng(0)
    inverse = np.linalg.inv(workload.matrix(c, n))
    sums = np.cumsum(inverse @ draw.normal(size=(n, 200_000)), axis=0)
    sens = sensitivity.toeplitz(c, n, 4)
    assert toeplitz.rmse(np.ones(n), c, 4) == pytest.approx(sens * sums.std(), rel=0.01)


@pytest.mark.oracle
def test_jax_privacy_agrees():
    """On what any factor costs, and on the error of the best bands."""
    from experiments.bench import peers

    draw = np.random.default_rng(2)
    questions, given, ours = [], {}, {"toeplitz": [], "banded": []}
    for i in range(20):
        n, s, k = (int(v) for v in draw.integers((20, 1, 1), (60, 20, 6)))
        falling = np.sort(draw.uniform(0.01, 1, draw.integers(1, n + 1)))[::-1]
        free = np.triu(np.tril(draw.normal(size=(n, n))), 1 - s)
        questions.append((n, s, k))
        given |= {f"toeplitz_{i}": falling, f"banded_{i}": free}
        ours["toeplitz"].append(sensitivity.toeplitz(falling, n, s, k))
        ours["banded"].append(sensitivity.banded(free, s, k))
    best = {n: toeplitz.optimise(np.ones(n), b, n, 1) for n, b in ((256, 8), (2000, 32))}
    given |= {f"ours_{n}": c for n, c in best.items()}
    theirs = peers.exchange(
        "jax_privacy", "jax_privacy_factors.py", given | {"questions": questions}
    )
    for kind, values in ours.items():
        np.testing.assert_allclose(values, theirs[kind], rtol=2e-7)
    for n, c in best.items():
        error = toeplitz.rmse(np.ones(n), c, n, 1)
        np.testing.assert_allclose(theirs[f"error_{n}"], error, rtol=3e-7)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: toeplitz.optimise(np.ones(9), 4, 3), "4 bands and participations 3 rounds apart"),
        (lambda: toeplitz.optimise(np.ones(9), 10, 10), "at most as many bands as rounds, 9"),
        (lambda: toeplitz.square_root(np.eye(3), 2), "a Toeplitz root needs a workload"),
        (lambda: toeplitz.square_root(np.ones(3), 0), "bands must be a whole number"),
        (lambda: toeplitz.squared_error(np.ones(3), np.array([0.0, 1])), "the first one above 0"),
        (lambda: toeplitz.squared_error(np.ones(3), np.array([1, np.nan])), "finite numbers"),
    ],
)
def test_bad_numbers_are_refused(call, said):
    with pytest.raises(PrivacyError, match=said):
        call()
