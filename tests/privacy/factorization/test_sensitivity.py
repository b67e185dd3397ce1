import numpy as np
import pytest
from scipy import special

from privacy.accounting.bound import Adjacency
from privacy.accounting.errors import PrivacyError
from privacy.accounting.events import Gaussian, SampledGaussian
from privacy.accounting.ledger import Ledger
from privacy.factorization import sensitivity, toeplitz, workload
from tests.privacy.factorization import brute

DRAW = np.random.default_rng(0)
SHAPES = [
    (1, 1, None),
    (7, 1, None),
    (8, 2, None),
    (9, 3, None),
    (9, 3, 2),
    (10, 4, 1),
    (11, 12, 5),
]


def above(found, want):
    """The exact value, rounded up."""
    return want <= found < want * (1 + 2e-7)


@pytest.mark.parametrize(("rounds", "separation", "most"), SHAPES)
def test_a_toeplitz_factor_costs_what_the_worst_of_all_schedules_does(rounds, separation, most):
    for bands in range(1, min(rounds, separation) + 1):  # columns apart: whatever the signs
        c = DRAW.normal(size=bands)
        c[0] = abs(c[0])
        want = brute.sensitivity(workload.matrix(c, rounds), separation, most)
        assert above(sensitivity.toeplitz(c, rounds, separation, most), want)
    for _ in range(3):  # columns that overlap: falling and not negative
        c = np.sort(DRAW.uniform(size=rounds))[::-1]
        want = brute.sensitivity(workload.matrix(c), separation, most)
        assert above(sensitivity.toeplitz(c, rounds, separation, most), want)


@pytest.mark.parametrize(("rounds", "separation", "most"), SHAPES)
def test_a_banded_factor_costs_what_the_worst_of_all_schedules_does(rounds, separation, most):
    for _ in range(5):
        c = np.triu(np.tril(DRAW.normal(size=(rounds, rounds))), 1 - separation)
        want = brute.sensitivity(c, separation, most)
        assert above(sensitivity.banded(c, separation, most), want)


def test_one_participation_costs_the_longest_column_whatever_the_coefficients():
    c = np.array([1.0, -0.4, 2.0])
    assert above(sensitivity.toeplitz(c, 9, 1, 1), np.linalg.norm(c))
    assert above(sensitivity.toeplitz(c, 2, 1, 1), np.linalg.norm(c[:2]))


def test_the_factor_of_the_rounds_in_float32_costs_no_more():
    """Of 2,000 factors, whose entries move by up to 2^-24 when rounds take them."""
    longer = 0
    for _ in range(1000):
        c = np.sort(DRAW.uniform(0.1, 1, size=3))[::-1]
        used = c.astype(np.float32).astype(float)
        exact = np.linalg.norm(workload.matrix(used, 8) @ [1, 0, 1, 0, 1, 0, 1, 0])
        assert exact <= sensitivity.toeplitz(c, 8, 2)
        free = np.diag(DRAW.uniform(0.1, 1, size=4)) + np.diag(DRAW.normal(size=3), -1)
        used = free.astype(np.float32).astype(float)
        longest = lambda m: np.linalg.norm(m, axis=0).max()
        assert longest(used) <= sensitivity.banded(free, 2, 1)
        longer += longest(used) > longest(free)
    assert longer > 100  # rounding up is needed


def test_the_first_rounds_are_not_the_worst_where_coefficients_rise():
    """What the condition of falling coefficients is for."""
    c = np.array([1.0, 0.0, 2.0])
    matrix = workload.matrix(c, 5)
    assert brute.sensitivity(matrix, 1, 2) > 1.1 * np.linalg.norm(matrix[:, 0] + matrix[:, 1])
    with pytest.raises(PrivacyError, match="use at most 1 coefficients, or such ones"):
        sensitivity.toeplitz(c, 5, 1, 2)


def test_independent_noise_is_k_rounds_of_the_gaussian_mechanism():
    event = sensitivity.event(3.0, sensitivity.toeplitz(np.ones(1), 20, 4))
    once = Ledger(Adjacency.REPLACE).record(event).epsilon(1e-5)
    rounds = Ledger(Adjacency.REPLACE).record(Gaussian(3.0), 5).epsilon(1e-5)
    assert rounds.lower <= once.upper == pytest.approx(rounds.upper, rel=1e-6)


def test_sampling_within_blocks_at_rate_one_is_no_sampling():
    c = toeplitz.optimise(np.ones(12), 4, 4)
    event, times = sensitivity.sampled(2.0, c, 12, 4, 1.0)
    assert times == 3
    sampled = Ledger(Adjacency.ADD_REMOVE).record(event, times).epsilon(1e-5)
    whole = sensitivity.event(2.0, np.sqrt(3) * sensitivity.toeplitz(c, 12, 4, 1))
    whole = Ledger(Adjacency.ADD_REMOVE).record(whole).epsilon(1e-5)
    assert sampled.upper == pytest.approx(whole.upper, rel=2e-3)


def test_sampling_within_blocks_is_accounted_for_as_it_is():
    """The privacy loss of one participant, from densities of C x + z in all n dimensions."""
    rounds, separation, rate, z = 4, 2, 0.3, 0.8
    c = np.array([1.0, 0.6])
    matrix = workload.matrix(c, rounds)
    event, times = sensitivity.sampled(z, c, rounds, separation, rate)
    assert isinstance(event, SampledGaussian)
    assert times == 2
    ledger = Ledger(Adjacency.ADD_REMOVE).record(event, times)
    schedules = [(), (0,), (2,), (0, 2)]  # what is drawn of its block's turns
    means = np.array([matrix[:, list(s)].sum(1) for s in schedules])
    shares = np.array([rate ** len(s) * (1 - rate) ** (2 - len(s)) for s in schedules])
    draws = 400_000
    for eps in (0.2, 1.0):
        x = DRAW.normal(size=(draws, rounds)) * z
        which = DRAW.choice(4, draws, p=shares)
        log_ratio = lambda x: special.logsumexp(
            (x @ means.T - np.sum(means**2, 1) / 2) / z**2 + np.log(shares), axis=1
        )
        remove = np.maximum(-np.expm1(eps - log_ratio(x + means[which])), 0)
        add = np.maximum(-np.expm1(eps + log_ratio(x)), 0)
        error = max(remove.std(), add.std()) / np.sqrt(draws)
        exact = ledger.delta(eps)
        attained = max(remove.mean(), add.mean())
        # tight: no column of this block is cut off by the end
        assert exact.lower - 5 * error < attained < exact.upper + 5 * error


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: sensitivity.toeplitz(np.ones(3), 0, 3), "rounds must be a whole number >= 1"),
        (lambda: sensitivity.toeplitz(np.ones(3), 9, 0), "separation must be a whole number"),
        (lambda: sensitivity.toeplitz(np.ones(3), 9, 3, 0), "participations must be a whole"),
        (lambda: sensitivity.toeplitz(np.zeros(2), 9, 3), "the first one above 0"),
        (lambda: sensitivity.toeplitz(np.ones((2, 2)), 9, 3), "a vector of finite numbers"),
        (lambda: sensitivity.banded(np.ones((2, 3)), 2), r"square matrix, got the shape \(2, 3\)"),
        (lambda: sensitivity.banded(np.tril(np.ones((3, 3))), 2), "at most 2 bands"),
        (lambda: sensitivity.banded(np.diag([1.0, 0.0]), 2), "0 on its diagonal has no inverse"),
        (lambda: sensitivity.banded(np.diag([1.0, np.nan]), 2), "finite square matrix"),
        (lambda: sensitivity.event(1.0, 0.0), "sensitivity must be > 0"),
        (lambda: sensitivity.sampled(1.0, np.ones(3), 9, 2, 0.1), "no more bands than there are"),
        (lambda: sensitivity.sampled(1.0, np.eye(3), 9, 2, 0.1), "for 3 rounds, but there are 9"),
        (lambda: sensitivity.sampled(1.0, np.ones((2, 2, 2)), 2, 2, 0.1), "a vector of finite"),
        (lambda: sensitivity.sampled(1.0, np.ones(2), 9, 2, 1.5), r"must lie in \(0, 1\]"),
    ],
)
def test_what_has_no_statement_is_refused(call, said):
    with pytest.raises(PrivacyError, match=said):
        call()
