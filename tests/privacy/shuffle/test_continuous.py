"""Continuous blankets: exact for one user, valid and useful for many."""

import math

import mpmath
import numpy as np
import pytest

from privacy import shuffle
from privacy.accounting import gaussian
from privacy.accounting.bound import Status
from privacy.accounting.errors import PrivacyError
from privacy.shuffle import continuous


def test_one_user_is_the_local_divergence():
    low, high = continuous.deltas(continuous.ClippedLaplace(1.5), 1, 0.5, spare=1e-12)
    assert low <= 1 - math.exp(-0.5) <= high <= low * 1.002
    low, high = continuous.deltas(continuous.ClippedGaussian(2.0), 1, 0.5, spare=1e-12)
    assert low <= float(gaussian.delta(0.5, 1.0)) <= high <= low * 1.002


@pytest.mark.parametrize("n", [2, 3])
def test_two_and_three_users_by_quadrature(n):
    """E[(sum of n)_+]/n over blanket reports and others, on a fine grid of outputs."""
    eps0, eps, cells = 1.0, 0.2, 400
    y = (np.arange(cells) + 0.5) / cells
    inner = np.maximum(y, 1 - y)  # distance to the farther end
    weight = np.concatenate(
        [0.5 * eps0 * np.exp(-eps0 * inner) / cells, [0.5 * math.exp(-eps0)] * 2]
    )
    first = np.concatenate([np.exp(eps0 * (inner - y)), [math.exp(eps0), 1.0]])
    second = np.concatenate([np.exp(eps0 * (inner - 1 + y)), [1.0, math.exp(eps0)]])
    gain = first - math.exp(eps) * second
    weight, gain = np.append(weight, 1 - weight.sum()), np.append(gain, 0.0)
    total, mass = gain, weight
    for _ in range(n - 2):
        total, mass = (total[:, None] + gain).ravel(), (mass[:, None] * weight).ravel()
    expected = (
        sum(float(mass @ np.maximum(total + g, 0)) * w for g, w in zip(gain, weight, strict=True))
        / n
    )
    low, high = continuous.deltas(continuous.ClippedLaplace(eps0), n, eps, spare=1e-12)
    assert low <= expected * (1 + 1e-4) and expected * (1 - 1e-4) <= high <= low * 1.001


@pytest.mark.parametrize(
    "mechanism", [continuous.ClippedLaplace(1.0), continuous.ClippedGaussian(2.0)]
)
@pytest.mark.parametrize("delta", [1e-5, 1e-15])
def test_amplified_and_bracketed(mechanism, delta):
    found = continuous.epsilon(mechanism, 3000, delta)
    assert found.status is Status.CONDITIONAL
    assert 0 < found.attained <= found.lower <= found.upper <= found.lower * 1.01
    assert found.upper < 0.3 * mechanism.local(delta)
    if isinstance(mechanism, continuous.ClippedLaplace):
        assert found.upper < shuffle.epsilon(1.0, 3000, delta).lower


def test_gaussian_is_local_in_many_dimensions_and_says_so():
    mechanism = continuous.ClippedGaussian(1.0, 1.0, 1000)
    found = continuous.epsilon(mechanism, 10_000, 1e-6)
    assert found.upper == pytest.approx(mechanism.local(1e-6))
    assert any("local guarantee" in note for note in found.notes)


@pytest.mark.parametrize(
    "mechanism",
    [
        continuous.ClippedLaplace(1e-3),
        continuous.ClippedLaplace(50.0),
        continuous.ClippedLaplace(300.0),
        continuous.ClippedLaplace(800.0),
        continuous.ClippedGaussian(1e-3),
        continuous.ClippedGaussian(1e4),
    ],
)
@pytest.mark.parametrize("n", [1, 50, 10**12])
def test_extremes_fall_back_to_the_local_guarantee(mechanism, n):
    for delta in (1e-30, 0.3):
        found = continuous.epsilon(mechanism, n, delta)
        assert 0 <= found.lower <= found.upper <= mechanism.local(delta) * (1 + 1e-9)


def test_deltas_beyond_the_losses_and_beyond_double_range():
    assert continuous.deltas(continuous.ClippedGaussian(1.0), 5, 100.0, spare=1e-9)[0] == 0.0
    assert continuous.deltas(continuous.ClippedLaplace(1.0), 5, 1.0, spare=1e-9) == (0.0, 0.0)
    assert continuous.deltas(continuous.ClippedLaplace(8.0), 10**5, 6.4, spare=1e-9)[1] > 0
    with pytest.raises(PrivacyError, match="double range"):
        continuous.deltas(continuous.ClippedGaussian(1.0), 5, 1000.0, spare=1e-9)


def test_the_local_loss_of_much_noise_is_rounded_up():
    with mpmath.workdps(40):
        mu = mpmath.mpf(2e-7)
        for delta in (1e-9, 3e-8):
            eps = mpmath.mpf(continuous.ClippedGaussian(1e7).local(delta))
            inside = mpmath.ncdf(mu / 2 - eps / mu) - mpmath.exp(eps) * mpmath.ncdf(
                -mu / 2 - eps / mu
            )
            assert inside <= delta
