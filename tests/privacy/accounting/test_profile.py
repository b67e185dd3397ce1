"""A profile's scale is the Gaussian's."""

import pytest

from privacy.accounting import gaussian
from privacy.accounting.bound import Adjacency


def test_scale():
    assert gaussian.profile(50.0, Adjacency.ADD_REMOVE).scale() == pytest.approx(0.02, rel=1e-3)


def test_a_large_eps_is_found():
    mu = 30_000**0.5 / 0.1
    low, high = gaussian.profile(1 / mu, Adjacency.ADD_REMOVE).epsilon(1e-5)
    assert low <= high <= low * (1 + 1e-6)
    # eps/mu - mu/2 is the quantile of delta, but for a term of 1e-4 of it
    assert (high / mu - mu / 2) == pytest.approx(4.26489, rel=1e-3)
