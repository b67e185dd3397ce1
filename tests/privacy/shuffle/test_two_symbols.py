"""Binary randomized response: the strided sums are the plain ones."""

import math

import numpy as np
import pytest

from privacy.accounting import binomial
from privacy.accounting.binomial import Binomial
from privacy.shuffle import attained, two_symbols


def plain(eps0, eps, ones, zeros):
    """max over t of u Pr[S = t-1] - (E-1) Pr[S >= t], from the whole convolution."""
    w1 = 1 / (1 + math.exp(-eps0))
    w0 = 1 - w1
    pmf = lambda n, p: np.exp(binomial.log_pmf(np.arange(n + 1), Binomial(float(n), p, 1 - p)))
    s = np.convolve(pmf(ones, w1), pmf(zeros, w0))
    tails = np.append(np.cumsum(s[::-1])[::-1], 0.0)
    return float(np.max((w1 - math.exp(eps) * w0) * np.append(0.0, s) - math.expm1(eps) * tails))


@pytest.mark.parametrize(
    "eps0, eps, ones, zeros",
    [
        (1.0, 0.3, 50, 49),
        (1.0, 0.3, 99, 0),
        (1.0, 0.3, 0, 99),
        (1.0, 0.0, 40, 30),
        (4.0, 3.0, 10, 5),
        (4.0, 0.5, 3, 900),
        (1.0, 0.999, 40, 30),
        (2.0, 1.5, 0, 0),
        (0.5, 0.4, 1, 0),
    ],
)
def test_few_users_give_the_plain_sum(eps0, eps, ones, zeros):
    low, high = two_symbols.delta(eps0, eps, ones, zeros)
    expected = plain(eps0, eps, ones, zeros)
    assert low * (1 - 1e-9) <= expected <= high * (1 + 1e-9)
    assert high - low <= 1e-6 * high


@pytest.mark.parametrize(
    "eps0, eps, ones, zeros",
    [(2.0, 0.05, 20_000, 30_000), (0.5, 0.01, 50_000, 49_999), (1.0, 0.02, 60_000, 5_000)],
)
def test_strides_stay_above_the_plain_sum(eps0, eps, ones, zeros):
    low, high = two_symbols.delta(eps0, eps, ones, zeros)
    expected = plain(eps0, eps, ones, zeros)
    assert low <= expected * (1 + 1e-9) and expected * (1 - 1e-9) <= high <= expected * 1.01


@pytest.mark.parametrize("n", [10**6, 10**9, 10**11])
def test_unanimous_bystanders_are_what_is_attained(n):
    eps = attained.binary_epsilon(1.0, n, 1e-6)
    below = attained.binary_delta(1.0, n, eps)
    assert below <= two_symbols.delta(1.0, eps, n - 1, 0)[1] <= below * 1.003


def test_nothing_is_lost_beyond_eps0():
    assert two_symbols.delta(1.0, 1.0, 5, 5) == (0.0, 0.0)
