"""Sampling transforms; the shuffled ones are in test_ledger."""

import numpy as np

from privacy.accounting import gaussian, sampling
from privacy.accounting.bound import Adjacency


def test_seen_participation_only_scales():
    profile = gaussian.profile(1.0, Adjacency.REPLACE)
    eps = np.array([0.0, 0.5])
    seen = sampling.visible(profile, 0.3).forward(eps)[1]
    np.testing.assert_allclose(seen, 0.3 * profile.forward(eps)[1])
