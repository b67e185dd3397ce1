"""Central Gaussian profiles against quadrature of their definition."""

import math

import numpy as np
import pytest
from scipy import integrate

from privacy.accounting import events, gaussian, rdp
from privacy.accounting.bound import Adjacency
from privacy.accounting.errors import PrivacyError


def density(x, mean):
    return np.exp(-((x - mean) ** 2) / 2) / np.sqrt(2 * np.pi)


@pytest.mark.parametrize("mu, rate", [(1.0, 0.1), (0.3, 0.5), (2.0, 0.01)])
@pytest.mark.parametrize("eps", [0.0, 0.004, 0.05, 0.4])
def test_sampled_profiles_are_their_integrals(mu, rate, eps):
    mixture = lambda x, side=1: (1 - rate) * density(x, 0) + rate * density(x, side * mu)
    pairs = {
        gaussian.sampled_delta_remove: (mixture, lambda x: density(x, 0)),
        gaussian.sampled_delta_add: (lambda x: density(x, 0), mixture),
        gaussian.sampled_delta_replace: (mixture, lambda x: mixture(x, -1)),
    }
    x = np.linspace(-14, 16, 600_001)
    for function, (p, q) in pairs.items():
        expected = integrate.trapezoid(np.maximum(p(x) - np.exp(eps) * q(x), 0), x)
        assert float(function(np.array(eps), mu, rate)) == pytest.approx(expected, abs=2e-9)


def test_whole_sampling_is_no_sampling_and_adjacency_doubles():
    one = gaussian.profile(3.0, Adjacency.REPLACE).forward(np.array([0.5]))[1]
    assert one[0] == pytest.approx(gaussian.delta(0.5, 2 / 3))
    assert len(gaussian.sampled_profiles(3.0, 1.0, Adjacency.ADD_REMOVE)) == 1
    assert len(gaussian.sampled_profiles(3.0, 0.5, Adjacency.ADD_REMOVE)) == 2


@pytest.mark.parametrize("alpha", [1.5, 2.0, 8.0, 33.3])
def test_renyi_of_the_sampled_gaussian(alpha):
    s, q = 1.3, 0.07
    x = np.linspace(-60, 100, 800_001)
    ratio = np.logaddexp(np.log1p(-q), np.log(q) + (2 * x - 1) / (2 * s * s))
    logs = -x * x / (2 * s * s) - np.log(s * np.sqrt(2 * np.pi)) + alpha * ratio
    expected = np.log(integrate.trapezoid(np.exp(logs), x)) / (alpha - 1)
    assert rdp.sampled_gaussian(alpha, s, q) == pytest.approx(expected, rel=1e-9)
    if alpha == 2.0:  # closed form: log(1 + q^2 (e^(1/s^2) - 1))
        closed = np.log1p(q * q * np.expm1(1 / s**2))
        assert rdp.sampled_gaussian(alpha, s, q) == pytest.approx(closed, rel=1e-10)


def test_no_digit_is_lost_to_cancellation():
    """Against the alternating series of Mills' ratio far out, in fractions of 1/t^2."""
    for mu in (1e-5, 1e-3, 0.1):
        for t in (20.0, 35.0):
            a, b = t, t + mu
            # M(x) = 1/x - 1/x^3 + 3/x^5 - ..; the difference term by term, without cancellation
            terms, factor = [], 1.0
            for k in range(8):
                power = 2 * k + 1
                gap = -math.expm1(-power * math.log1p(mu / a)) / a**power
                terms.append(factor * gap)
                factor *= -(2 * k + 1)
            expected = math.exp(-a * a / 2) / math.sqrt(2 * math.pi) * math.fsum(terms)
            eps = mu * (t + mu / 2)
            found = float(gaussian.delta(eps, mu))
            slack = float(gaussian.rounding(eps, mu)) + 5 * abs(terms[-1] / terms[0])
            assert abs(found / expected - 1) <= slack, (mu, t, b)


def test_extremes_of_sampling_are_finite():
    for rate in (1e-4, 0.5):
        for adjacency in Adjacency:
            for profile in gaussian.sampled_profiles(1.0, rate, adjacency):
                low, high = profile.forward(np.array([0.0, 1e-9, 1.0, 50.0, 800.0]))
                assert np.all(low <= high) and np.all(np.isfinite(high)) and high[-1] < 1e-300


@pytest.mark.parametrize("noise", [1e-200, 1e13, 1e200])
def test_noise_beyond_the_arithmetic_is_refused(noise):
    """At 1e18 the difference of Mills' ratios was 0, and so was the certified delta."""
    for make in (events.Gaussian, lambda s: events.SampledGaussian(s, 0.5)):
        with pytest.raises(PrivacyError, match="noise_multiplier"):
            make(noise)
    with pytest.raises(PrivacyError, match="noise_multiplier"):
        gaussian.profile(noise, Adjacency.REPLACE)
