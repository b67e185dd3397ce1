"""Continuous blankets: exact for one user, valid and useful for many."""

import math

import pytest

from privacy import shuffle
from privacy.accounting import gaussian
from privacy.accounting.bound import Status
from privacy.shuffle import continuous


def test_one_user_is_the_local_divergence():
    laplace = continuous.delta_upper(continuous.ClippedLaplace(1.5), 1, 0.5, spare=1e-12)
    expected = 1 - math.exp(-0.5)
    assert expected <= laplace <= expected * 1.002
    made = continuous.delta_upper(continuous.ClippedGaussian(2.0), 1, 0.5, spare=1e-12)
    expected = float(gaussian.delta(0.5, 1.0))
    assert expected <= made <= expected * 1.002


def test_laplace_is_amplified_below_the_universal_bound():
    found = continuous.epsilon(continuous.ClippedLaplace(1.0), 1000, 1e-5, rtol=1e-2)
    assert found.status is Status.CONDITIONAL and found.lower == 0
    assert 0.05 < found.upper < shuffle.epsilon(1.0, 1000, 1e-5).upper


def test_gaussian_is_local_in_many_dimensions_and_says_so():
    mechanism = continuous.ClippedGaussian(1.0, 1.0, 1000)
    found = continuous.epsilon(mechanism, 10_000, 1e-6)
    assert found.upper == pytest.approx(mechanism.local(1e-6))
    assert any("local guarantee" in note for note in found.notes)
