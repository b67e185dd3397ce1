"""Renyi divergences against full summation and the reference values."""

import math

import numpy as np
import pytest

from privacy import shuffle
from privacy.accounting import binomial, rdp
from privacy.accounting.errors import PrivacyError
from privacy.shuffle import pair, renyi


def full(part, alpha):
    """Plain double sum in logarithms."""
    kappa, total = math.tanh(part.eps0 / 2), -np.inf
    for c in range(part.n):
        m = c + 1
        a = np.arange(m + 1)
        y = (2 * a - m) / m
        logs = binomial.log_pmf(a, binomial.Binomial(float(m), 0.5, 0.5))
        logs = logs + alpha * np.log1p(kappa * y) + (1 - alpha) * np.log1p(-kappa * y)
        outer = float(binomial.log_pmf(np.array([c]), part.clones)[0])
        total = np.logaddexp(total, np.logaddexp.reduce(logs) + outer)
    return total / (alpha - 1)


@pytest.mark.parametrize("n", [1, 2, 40, 300])
@pytest.mark.parametrize("eps0", [0.1, 1.0, 4.0])
@pytest.mark.parametrize("alpha", [1.25, 2.0, 7.5, 64.0])
def test_bracket_holds_the_full_sum(n, eps0, alpha):
    for make in (pair.standard, pair.stronger):
        part = make(eps0, n)
        low, high = renyi.bracket(part, alpha)
        expected = full(part, alpha)
        assert low <= expected * (1 + 1e-10) and expected <= high * (1 + 1e-10)
        assert high <= low * (1 + 1e-3)


@pytest.mark.parametrize(
    "eps0, alpha, stronger, standard",
    [
        (1.0, 2.0, 0.0015887, 0.0023233),
        (1.0, 16.0, 0.012711, 0.018590),
        (1.0, 64.0, 0.050895, 0.074602),
        (2.0, 2.0, 0.0097559, 0.017220),
        (4.0, 8.0, 1.4078, 2.6844),
    ],
)
def test_reference_values(eps0, alpha, stronger, standard):
    for bound, value in (("stronger", stronger), ("standard", standard)):
        found = shuffle.rdp(alpha, eps0, 1000, bound=bound)
        assert found.lower * (1 - 5e-5) <= value <= found.upper * (1 + 5e-5)


def test_leading_term_and_tight_request():
    eps0, n, alpha = 1.0, 10**8, 4.0
    found = shuffle.rdp(alpha, eps0, n, bound="stronger", rtol=1e-6)
    leading = alpha * math.expm1(eps0) ** 2 / ((math.exp(eps0) + 1) * n)
    assert found.upper == pytest.approx(leading, rel=1e-4)
    assert found.gap <= 1e-6


def test_renyi_conversion_is_never_tighter_than_the_direct_bound():
    curve = lambda alpha: shuffle.rdp(alpha, 1.0, 10_000).lower
    eps = min(rdp.epsilon_at(a, curve(a), 1e-6) for a in (200.0, 500.0, 800.0))
    assert shuffle.epsilon(1.0, 10_000, 1e-6).upper <= eps <= 0.08


@pytest.mark.parametrize("alpha, eps0", [(1e300, 1.0), (2.0, 1e-170), (math.nan, 1.0)])
def test_orders_and_losses_beyond_double_range_are_refused(alpha, eps0):
    with pytest.raises(PrivacyError, match=r"alpha|eps0"):
        shuffle.rdp(alpha, eps0, 10)
    assert shuffle.rdp(renyi.MOST, 1.0, 10).upper == 1.0
    assert 0 < shuffle.rdp(2.0, renyi.LEAST, 10).upper < 1e-299
