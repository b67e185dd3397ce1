"""Sampling transforms; the shuffled ones are in test_ledger."""

import mpmath
import numpy as np

from privacy.accounting import gaussian, sampling
from privacy.accounting.bound import Adjacency
from privacy.shuffle.events import SampledShuffledReports


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
