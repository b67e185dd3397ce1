"""Renyi conversions against loss distributions are in test_ledger; here the curves themselves."""

import math

import mpmath
import numpy as np
import pytest

from privacy.accounting import gaussian, rdp
from privacy.accounting.bound import Adjacency, Status
from privacy.accounting.errors import PrivacyError
from privacy.accounting.profile import Profile


def test_conversion_is_valid():
    eps, order = rdp.epsilon(lambda a: rdp.gaussian(a, 0.3), 1e-6)
    assert order > 1 and float(gaussian.delta(eps, 0.3)) <= 1e-6


def test_full_sampling_is_the_gaussian():
    assert rdp.sampled_gaussian(3.5, 2.0, 1.0) == rdp.gaussian(3.5, 0.5)


@pytest.mark.parametrize("noise", [0.4, 1.0, 5.0, 1e3])
@pytest.mark.parametrize("rate", [0.3, 1e-4, 1e-8, 1e-12])
@pytest.mark.parametrize("alpha", [2, 32, 1000])
def test_the_sampled_gaussian_is_rounded_up_however_rare(alpha, noise, rate):
    """Whole orders are finite sums [Mironov, Talwar, Zhang 2019, Section 3.3]."""
    with mpmath.workdps(50):
        q, s = mpmath.mpf(rate), mpmath.mpf(noise)
        terms = (
            mpmath.binomial(alpha, k)
            * (1 - q) ** (alpha - k)
            * q**k
            * mpmath.exp((k * k - k) / (2 * s * s))
            for k in range(alpha + 1)
        )
        exact = mpmath.log(mpmath.fsum(terms)) / (alpha - 1)
        found = mpmath.mpf(rdp.sampled_gaussian(float(alpha), noise, rate))
        assert exact <= found <= exact * (1 + mpmath.mpf(1e-10))


@pytest.mark.parametrize("eps0", [0.1, 1.0, 6.0])
@pytest.mark.parametrize("alpha", [1.001, 1.5, 2.0, 30.0, 1000.0])
def test_a_profiles_renyi_divergence_is_an_integral(eps0, alpha):
    """Binary randomized response: profile and divergence are both closed."""
    w0 = 1 / (1 + math.exp(-eps0))
    delta = lambda eps: np.maximum(w0 - np.exp(eps) * (1 - w0), 0)
    profile = Profile(
        lambda eps: (delta(eps), delta(eps)),
        Adjacency.REPLACE,
        Status.UNIVERSAL,
        "binary randomized response",
        reach=eps0,
    )
    low, high = rdp.of_table(alpha, rdp.table(profile))
    logs = [
        alpha * math.log(a) + (1 - alpha) * math.log(b) for a, b in ((w0, 1 - w0), (1 - w0, w0))
    ]
    exact = float(np.logaddexp(*logs)) / (alpha - 1)
    assert low <= exact * (1 + 1e-9) and exact <= high * (1 + 1e-9)
    assert high <= low * 1.001


def test_what_has_no_table_is_refused():
    with pytest.raises(PrivacyError, match="finite reach"):
        rdp.table(gaussian.profile(1.0, Adjacency.REPLACE))


def test_seen_participation_scales_the_moment():
    assert rdp.visible(2.0, 0.3, 1.0) == 0.3
    assert rdp.visible(2.0, 0.3, 0.25) == pytest.approx(math.log1p(0.25 * math.expm1(0.3)))
    assert rdp.visible(1001.0, 0.9, 0.25) == pytest.approx(0.9 + math.log(0.25) / 1000)


@pytest.mark.parametrize("alpha", [1.01, 2.0, 40.0, 1e4])
@pytest.mark.parametrize("loss", [1e-9, 1e-5, 0.03, 1.0, 60.0])
def test_small_losses_keep_their_digits(alpha, loss):
    """They are added up a trillion times, and what rounding takes off would be added up too."""
    with mpmath.workdps(60):
        a, x = mpmath.mpf(alpha), mpmath.mpf(loss)
        s, e = a - 1, mpmath.exp(x)
        laplace = (a * mpmath.exp(s * x) + s * mpmath.exp(-a * x)) / (2 * a - 1)
        pure = (mpmath.exp(a * x) + mpmath.exp(-s * x)) / (e + 1)
        for found, exact in (
            (rdp.laplace(alpha, loss), mpmath.log(laplace) / s),
            (rdp.pure(alpha, loss), mpmath.log(pure) / s),
        ):
            assert abs(found / exact - 1) < 1e-13


def test_no_delta_for_an_eps_below_0():
    with pytest.raises(PrivacyError, match="eps must be >= 0"):
        rdp.delta(lambda alpha: rdp.gaussian(alpha, 0.3), -1.0)
