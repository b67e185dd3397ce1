import numpy as np
import pytest
from scipy import optimize, stats

from fl_jax.core import errors
from privacy.membership import audit
from tests.privacy.membership import naive


@pytest.mark.parametrize("guesses", [10, 100, 700])
@pytest.mark.parametrize("significance", [0.05, 0.01])
def test_all_right_has_a_closed_form(guesses, significance):
    found = audit.one_run(guesses, guesses, guesses, delta=0.0, significance=significance)
    q = significance ** (1 / guesses)
    np.testing.assert_allclose(found, np.log(q / (1 - q)), rtol=1e-10)
    assert round(audit.one_run(100, 100, 100, delta=0.0), 2) == 3.49


@pytest.mark.parametrize("right,guesses,canaries", [(60, 80, 100), (95, 100, 400), (31, 40, 40)])
@pytest.mark.parametrize("delta", [0.0, 1e-5, 1e-3])
def test_equal_to_plain_sums(right, guesses, canaries, delta):
    for eps in (0.0, 0.3, 1.0, 2.5):
        np.testing.assert_allclose(
            audit.p_value(eps, right, guesses, canaries, delta),
            naive.one_run_p(eps, right, guesses, canaries, delta),
            rtol=1e-9, atol=1e-13,
        )  # fmt: skip
    found = audit.one_run(right, guesses, canaries, delta=delta)
    excess = lambda eps: naive.one_run_p(eps, right, guesses, canaries, delta) - 0.05
    expected = optimize.brentq(excess, 0, 20, xtol=1e-13) if excess(0) < 0 else 0.0
    np.testing.assert_allclose(found, expected, atol=1e-10)


def test_a_fair_coin_proves_nothing():
    assert audit.one_run(50, 100, 100, delta=1e-5) == 0.0
    assert audit.one_run_gaussian(50, 100, 100, delta=1e-5) == 0.0


def test_randomised_response_is_not_overestimated():
    """Coins seen through eps = 1 randomised response: the bound holds in 95 % of the runs."""
    rng = np.random.default_rng(0)
    right = rng.binomial(400, np.e / (1 + np.e), 200)
    bounds = [audit.one_run(int(w), 400, 400, delta=0.0) for w in right]
    assert np.mean(np.array(bounds) > 1.0) <= 0.09  # 0.05 and three deviations
    assert 0.5 < np.median(bounds) < 1.0


def test_the_gaussian_bound_holds_for_a_gaussian_mechanism_and_is_tighter():
    rng = np.random.default_rng(1)
    mu, delta = 1.0, 1e-5
    truth = audit.gdp_epsilon(mu, delta)
    gaussian, plain = [], []
    for _ in range(12):
        coins = rng.random(1000) < 0.5
        guesses = audit.extremes(rng.normal(size=1000) + mu * coins, coins, top=50, bottom=50)
        gaussian.append(audit.one_run_gaussian(*guesses, delta=delta))
        plain.append(audit.one_run(*guesses, delta=delta))
    assert np.mean(np.array(gaussian) > truth) <= 0.25
    assert np.mean(gaussian) > np.mean(plain)


def test_gdp_round_trips_and_equals_the_formula():
    for mu in (0.2, 1.0, 3.0):
        eps = audit.gdp_epsilon(mu, 1e-6)
        expected = stats.norm.cdf(mu / 2 - eps / mu) - np.exp(eps) * stats.norm.cdf(
            -mu / 2 - eps / mu
        )
        np.testing.assert_allclose(expected, 1e-6, rtol=1e-6)
        np.testing.assert_allclose(audit.gdp_from_epsilon(eps, 1e-6), mu, rtol=1e-9)
    assert np.isclose(audit.gdp_from_rates(stats.norm.cdf(1.5), 0.5), 1.5)


def test_rates_prove_what_separates():
    rng = np.random.default_rng(2)
    member = rng.random(4000) < 0.5
    scores = rng.normal(size=4000) + 2 * member
    assert 1.0 < audit.rates(scores, member, delta=1e-5) < audit.gdp_epsilon(2.0, 1e-5)
    assert audit.rates(rng.normal(size=4000), member, delta=1e-5) < 0.3


def test_bad_input_is_refused():
    with pytest.raises(errors.DataError, match="correct <= guesses <= canaries"):
        audit.one_run(5, 4, 10, delta=0.0)
    with pytest.raises(errors.DataError, match="as many canaries"):
        audit.extremes(np.zeros(4), np.zeros(4, bool), top=3, bottom=2)
    with pytest.raises(errors.ConfigError, match="delta > 0"):
        audit.one_run_gaussian(5, 5, 5, delta=0.0)


def test_the_eps_of_a_strong_leak_has_no_ceiling():
    for mu in (20.0, 60.0):
        eps = audit.gdp_epsilon(mu, 1e-5)
        assert eps > mu * mu / 2  # delta is above 1/2 - 1/mu there
        np.testing.assert_allclose(audit.gdp_delta(eps, mu), 1e-5, rtol=1e-6)


def test_scores_that_are_nan_are_refused():
    scores = np.array([1.0, np.nan, 2.0, 0.0])
    with pytest.raises(errors.DataError, match="1 scores are NaN"):
        audit.extremes(scores, scores > 0, top=1, bottom=1)
    with pytest.raises(errors.DataError, match="1 scores are NaN"):
        audit.rates(scores, scores > 0, delta=1e-5)


@pytest.mark.parametrize(
    "scores, member, claim",
    [
        (np.arange(100.0), np.arange(100) > 50, {"delta": -1.0}),
        (np.arange(100.0), np.arange(100) > 50, {"delta": 2.0}),
        (np.arange(100.0), np.arange(99) > 50, {"delta": 0.0}),
        (np.arange(100.0), np.arange(100) > 50, {"delta": 0.0, "significance": 0.0}),
        (np.array([1.0]), np.array([True]), {"delta": 0.0}),
        (np.array([]), np.array([], bool), {"delta": 0.0}),
    ],
)
def test_an_audit_by_rates_refuses_what_proves_nothing(scores, member, claim):
    """A delta of -1 was taken off, and proved more than there is."""
    with pytest.raises((errors.ConfigError, errors.DataError)):
        audit.rates(scores, member, **claim)


def test_an_audit_by_rates_takes_infinite_scores_for_the_farthest():
    draws = np.random.default_rng(5)
    member = draws.random(400) < 0.5
    scores = draws.normal(size=400) + 3 * member
    ends = np.where(scores > 3, np.inf, np.where(scores < 0, -np.inf, scores))
    assert audit.rates(ends, member, delta=1e-5) > 1.5


@pytest.mark.parametrize("mu", [-1.0, np.nan, np.inf])
def test_a_gaussian_mechanism_has_a_finite_mu(mu):
    with pytest.raises(errors.ConfigError, match="mu lies in"):
        audit.gdp_epsilon(mu, 1e-5)


@pytest.mark.parametrize("eps, delta", [(1.0, 1.0), (1.0, 0.0), (-1.0, 0.5), (np.nan, 0.5)])
def test_no_mu_for_a_claim_that_is_none(eps, delta):
    with pytest.raises(errors.ConfigError):
        audit.gdp_from_epsilon(eps, delta)


def test_rates_at_their_ends_give_no_nan():
    assert audit.gdp_from_rates(1.0, 1.0) == audit.gdp_from_rates(0.0, 0.0) == 0.0
