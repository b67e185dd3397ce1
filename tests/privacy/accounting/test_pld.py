"""Loss distributions: one round against the profile, compositions against closed forms."""

import math

import numpy as np
import pytest

from privacy.accounting import binomial, gaussian, pld
from privacy.accounting.bound import Adjacency
from privacy.accounting.errors import PrivacyError
from privacy.shuffle import pair
from privacy.shuffle.events import ShuffledReports
from tests.privacy.shuffle import brute


def test_both_roundings_hold_the_profile_everywhere():
    profile = gaussian.profile(2.0, Adjacency.ADD_REMOVE)
    low, high = pld.from_profile(profile, 0.02)
    eps = np.linspace(0.0, 2.0, 57) + 0.0037  # between grid points
    true = gaussian.delta(eps, 0.5)
    assert np.all(pld.compose([(low, 1)], 1e-4).delta(eps) <= true)
    assert np.all(pld.compose([(high, 1)], 1e-4).delta(eps) >= true)


@pytest.mark.parametrize("copies", [1, 7, 400])
@pytest.mark.parametrize("delta", [1e-3, 1e-8, 1e-30])
def test_gaussians_compose_as_they_should(copies, delta):
    profile = gaussian.profile(20.0, Adjacency.ADD_REMOVE)
    low, high = pld.bracket([(profile, copies)], delta)
    mu = math.sqrt(copies) / 20
    lower, upper = low.epsilon(delta), high.epsilon(delta)
    assert gaussian.delta(lower, mu) >= delta * (1 - 1e-9)
    assert gaussian.delta(upper, mu) <= delta * (1 + 1e-9)
    assert upper <= lower * (1 + 1e-3)


def test_two_rounds_are_the_convolution():
    eps0, n = 1.0, 6
    part = pair.stronger(eps0, n)
    p, q = brute.pair(eps0, n, part.rate)
    pp, qq = np.outer(p, p).ravel(), np.outer(q, q).ravel()
    profile = ShuffledReports(eps0, n, bound="stronger").profiles(Adjacency.REPLACE)[0]
    low, high = pld.bracket([(profile, 2)], 1e-2, rtol=1e-4)
    for eps in (0.1, 0.5, 1.0):
        true = brute.delta(pp, qq, eps)
        lower, upper = float(low.delta(eps)[0]), float(high.delta(eps)[0])
        assert lower <= true <= upper
        assert upper - lower < 5e-3 * true


# stronger and standard clone, eps0 = 1, delta = 1e-6: brackets of the project's spec
@pytest.mark.parametrize(
    "bound, copies, low, high",
    [
        ("stronger", 10, 0.14845, 0.14850),
        ("stronger", 100, 0.50802, 0.50852),
        ("stronger", 1000, 1.7560, 1.7610),
        ("standard", 1000, 2.162, 2.167),
    ],
)
def test_reference_brackets_overlap(bound, copies, low, high):
    profile = ShuffledReports(1.0, 10_000, bound=bound).profiles(Adjacency.REPLACE)[0]
    parts = pld.bracket([(profile, copies)], 1e-6)
    lower, upper = (c.epsilon(1e-6) for c in parts)
    assert lower <= high and low <= upper and upper <= lower * (1 + 1e-3)


def test_rounds_may_differ():
    profiles = [gaussian.profile(s, Adjacency.ADD_REMOVE) for s in (10.0, 25.0)]
    low, high = pld.bracket([(profiles[0], 4), (profiles[1], 9)], 1e-6)
    mu = math.sqrt(4 / 100 + 9 / 625)
    assert gaussian.delta(low.epsilon(1e-6), mu) >= 1e-6 >= gaussian.delta(high.epsilon(1e-6), mu)


def test_mixed_grids_are_refused():
    one, two = (
        pld.from_profile(gaussian.profile(2.0, Adjacency.ADD_REMOVE), s)[1] for s in (0.1, 0.2)
    )
    with pytest.raises(PrivacyError, match="one step"):
        pld.compose([(one, 1), (two, 1)], 1e-5)


@pytest.mark.parametrize("rounds, delta", [(1428, 5e-17), (30, 1e-6), (2, 1e-13)])
def test_an_unamplified_round_keeps_its_order(rounds, delta):
    """Two losses only, at the ends of the grid: lower must stay below the exact eps."""
    eps0 = 0.0248
    profile = ShuffledReports(eps0, 1).profiles(Adjacency.REPLACE, 1e-25)[0]
    low, high = pld.bracket([(profile, rounds)], delta)
    upper = high.epsilon(delta)
    lower = low.epsilon(delta, upper)
    k = np.arange(rounds + 1)
    w0 = 1 / (1 + math.exp(-eps0))
    mass = np.exp(binomial.log_pmf(k, binomial.Binomial(float(rounds), w0, 1 - w0)))
    loss = eps0 * (2 * k - rounds)
    exact = lambda eps: float(mass @ -np.expm1(np.minimum(eps - loss, 0)))
    assert lower < upper
    assert exact(lower) >= delta * (1 - 1e-9) and exact(upper) <= delta * (1 + 1e-9)


def test_steep_losses_do_not_overflow():
    low, high = pld.from_profile(ShuffledReports(900.0, 3).profiles(Adjacency.REPLACE)[0], 1.0)
    for part in (low, high):
        assert np.isfinite(part.probs).all() and part.probs.sum() == pytest.approx(1)


def test_a_tiny_mass_at_infinity_is_not_rounded_away():
    part = pld.PLD(0.1, 0, np.array([0.5, 0.5]), 1e-20, True)
    assert pld.compose([(part, 3)], 1e-12).infinity == pytest.approx(3e-20, rel=1e-12, abs=0)
