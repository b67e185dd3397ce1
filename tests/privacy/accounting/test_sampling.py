"""Sampling transforms; the shuffled ones are in test_ledger."""

import mpmath
import numpy as np
import pytest

from privacy.accounting import gaussian, sampling
from privacy.accounting.bound import Adjacency
from privacy.shuffle.events import SampledShuffledReports
from privacy.shuffle.mechanisms import RandomizedResponse


def test_seen_participation_only_scales():
    profile = gaussian.profile(1.0, Adjacency.REPLACE)
    eps = np.array([0.0, 0.5])
    seen = sampling.visible(profile, 0.3).forward(eps)[1]
    np.testing.assert_allclose(seen, 0.3 * profile.forward(eps)[1])


def test_a_fixed_subset_at_an_eps_whose_exponential_overflows():
    whole = gaussian.profile(0.05, Adjacency.REPLACE)
    part = sampling.fixed_size(whole, 0.25)
    eps = np.array([599.9, 600.1, 750.0])
    low, high = part.forward(eps)
    expected = 0.25 * whole.forward(eps + np.log(4))[1]
    np.testing.assert_allclose(high, expected, rtol=1e-6)
    assert (low <= high).all()
    assert high[0] > high[1] > high[2] > 0


def test_the_reach_of_a_subset_is_not_rounded_down():
    for eps0 in (0.1, 1.0, 3.7, 20.0):
        event = SampledShuffledReports(eps0, 1000, 300)
        reach = event.profiles(Adjacency.REPLACE)[0].reach
        with mpmath.workdps(40):
            exact = mpmath.log1p(mpmath.expm1(mpmath.mpf(eps0)) * mpmath.mpf(0.3))
            assert exact <= mpmath.mpf(reach) <= exact * (1 + 1e-14)


@pytest.mark.parametrize("kind", ["fixed", "check-in"])
@pytest.mark.parametrize("mechanism", [None, RandomizedResponse(2)])
@pytest.mark.parametrize("eps0", [0.3, 2.0, 5.0])
def test_the_certificate_holds_where_delta_ends(kind, mechanism, eps0):
    """One of two users at a time: nobody else is there, but for a check-in of both.

    There delta falls as the distance to the end does, and that is nothing but rounding.
    """
    profile = SampledShuffledReports(eps0, 2, 1, kind, mechanism).profiles(Adjacency.REPLACE)[0]
    with mpmath.workdps(50):
        e0 = mpmath.exp(mpmath.mpf(eps0))
        alone = lambda e: max((e0 - e) / (e0 + 1), 0)
        whole = 1 if kind == "check-in" else (e0 - 1) / 2 + 1  # where it ends, e^eps
        end = float(mpmath.log(whole if kind == "fixed" else e0))
        for gap in (1e-14, 3e-14, 1e-12, 1e-10, 1e-7):
            eps = end * (1 - gap)
            e = mpmath.exp(mpmath.mpf(eps))
            exact = alone(1 + 2 * (e - 1)) / 2
            if kind == "check-in":  # one alone, or both
                rate = 1 / e0 if mechanism is None else 2 / (e0 + 1)
                both = (1 - rate) * alone(e) + rate * _beside_one(e0, e)
                exact = exact / 2 + both / 4
            low, high = (float(v[0]) for v in profile.forward(np.array([eps])))
            assert exact * 0.99 - 1e-12 <= low <= exact <= high <= exact * 1.01 + 1e-12


def _beside_one(e0, e):
    """delta of the clone pair with one clone: (0, 2), (1, 1) and (2, 0) reports of either kind."""
    p, q = e0 / (e0 + 1) / 2, 1 / (e0 + 1) / 2
    return max(p - e * q, 0) + max((1 - e) / 2, 0)
