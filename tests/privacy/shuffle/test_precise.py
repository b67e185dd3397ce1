"""Certificates against 50-digit arithmetic, to n = 1e9 for the pair and to 1e12 for its parts."""

import math

import mpmath
import numpy as np
import pytest

from privacy.accounting import binomial
from privacy.accounting.binomial import Binomial
from privacy.shuffle import mixture, option, pair
from tests.privacy.shuffle import brute, precise


def rate(eps0, make):
    e0 = mpmath.exp(mpmath.mpf(eps0))
    return 1 / e0 if make is pair.standard else 2 / (e0 + 1)


def test_the_judge_agrees_with_enumeration():
    for eps in (0.0, 0.3, 1.0):
        part = pair.standard(1.5, 20)
        p, q = brute.pair(1.5, 20, part.rate)
        exact = precise.delta(1.5, 20, rate(1.5, pair.standard), eps)
        assert float(exact) == pytest.approx(brute.delta(p, q, eps), rel=1e-12)


@pytest.mark.parametrize("make", [pair.standard, pair.stronger])
@pytest.mark.parametrize(
    "eps0, n, delta",
    [
        (10.0, 10**9, 1e-6),
        (10.0, 10**9, 1e-12),
        (9.0, 10**8, 1e-30),
        (8.0, 10**8, 1e-8),
        (4.0, 10**6, 1e-10),
        (1.0, 10**5, 1e-8),
        (0.1, 10**4, 1e-6),
    ],
)
def test_the_certificate_holds(make, eps0, n, delta):
    """delta of the lower end is at least what was asked for, of the upper end at most."""
    found = pair.epsilon(make(eps0, n), delta, 1e-6)
    assert 0 < found.lower <= found.upper <= found.lower * (1 + 1e-6)
    exact = lambda eps: precise.delta(eps0, n, rate(eps0, make), eps)
    assert exact(found.upper) <= delta <= exact(found.lower)
    low, high = pair.delta(make(eps0, n), found.upper)
    assert low <= exact(found.upper) <= high <= low * (1 + 1e-5)


@pytest.mark.slow
def test_the_certificate_holds_with_many_clones():
    eps0, n = 6.0, 10**9  # two and a half million clones: a sum of forty thousand terms
    found = pair.epsilon(pair.standard(eps0, n), 1e-8, 1e-6)
    exact = lambda eps: precise.delta(eps0, n, rate(eps0, pair.standard), eps)
    assert exact(found.upper) <= 1e-8 <= exact(found.lower)


@pytest.mark.parametrize("m", [10**k + 7 for k in range(1, 13)])
def test_the_error_budget_of_calls_grows_with_their_size(m):
    """To c = 1e12 and forty standard deviations, for all three quadratures and the pair's slack."""
    for t in (0.0, 0.3, 2.0, 7.0, 15.0, 40.0):
        y = min(t / math.sqrt(m), 0.97)
        exact = precise.call(m, y)
        for rule in (option.FINE, option.COARSE, option.ROUGH):
            value = option.log_call(np.array([float(m)]), np.array([y]), rule=rule)
            error = abs(mpmath.mpf(float(value[0])) - mpmath.log(exact))
            assert error <= rule.error + mixture.budget(float(m))


@pytest.mark.parametrize("n", [10**k + 3 for k in range(2, 13, 2)])
@pytest.mark.parametrize("p", [0.5, 0.25, 2.0**-12])
def test_binomial_tails_and_probabilities(n, p):
    law = Binomial(float(n), p, 1 - p)
    for t in (0.2, 3.0, 12.0):
        k = int(law.mean + t * law.sigma) + 1
        if k >= n:
            continue
        exact = precise.tail(k, n, p)
        assert abs(binomial.tails(np.array([float(k)]), law)[1][0] / exact - 1) < 2e-13 * (
            10 + t * t
        )
        exact = precise.pmf(k, n, mpmath.mpf(p))
        log = float(binomial.log_pmf(np.array([float(k)]), law)[0])
        assert abs(log - mpmath.log(exact)) < 2e-13 * (10 + t * t)
