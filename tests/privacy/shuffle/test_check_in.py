"""The check-in bound against the mean over every count of participants."""

import math

import numpy as np
import pytest

from privacy.accounting import binomial
from privacy.accounting.binomial import Binomial
from privacy.shuffle import check_in, pair


def mean_over_counts(make, eps0, n, rate, eps):
    """(lower, upper) of sum_m Pr[Bin(n, rate) = m] (m/n) delta_m(log(1 + (e^eps - 1) n/m))."""
    m = np.arange(1, n + 1)
    weight = np.exp(binomial.log_pmf(m, Binomial(float(n), rate, 1 - rate)))
    total = np.zeros(2)
    for w, k in zip(weight, m.tolist(), strict=True):
        if w > 1e-20:
            shifted = math.log1p(math.expm1(eps) * n / k)
            total += w * k / n * np.array(pair.delta(make(eps0, k), shifted))
    return total


@pytest.mark.parametrize("make", [pair.standard, pair.stronger])
@pytest.mark.parametrize(
    "eps0, n, rate", [(1.0, 200, 0.3), (4.0, 150, 0.5), (0.2, 300, 0.05), (2.0, 20, 1.0)]
)
def test_bracket_holds_the_mean_and_is_tight(make, eps0, n, rate):
    curve = check_in.curve(make(eps0, n), rate, exponent=50.0)
    for share in (0.0, 0.003, 0.03, 0.1):
        low, high = (float(v[0]) for v in curve(np.array([share * eps0])))
        least, most = mean_over_counts(make, eps0, n, rate, share * eps0)
        assert low <= most * (1 + 1e-9) and least * (1 - 1e-9) <= high
        assert high <= low * 1.005 or most < 1e-6


def test_nobody_else_is_no_amplification_and_the_local_loss_ends_it():
    curve = check_in.curve(pair.standard(1.0, 1), 0.4, exponent=40.0)
    low, high = curve(np.array([0.0, 0.2, 1.0]))
    w0 = 1 / (1 + math.exp(-1.0))
    # the only user is seen when it comes: no membership is hidden from one who knows the others
    expected = 0.4 * np.maximum(w0 - np.exp([0.0, 0.2, 1.0]) * (1 - w0), 0)
    np.testing.assert_allclose(low, expected, rtol=1e-7, atol=1e-15)
    np.testing.assert_allclose(high, expected, rtol=1e-7, atol=1e-15)
