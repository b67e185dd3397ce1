"""A profile's scale is the Gaussian's."""

import pytest

from privacy.accounting import gaussian
from privacy.accounting.bound import Adjacency


def test_scale():
    assert gaussian.profile(50.0, Adjacency.ADD_REMOVE).scale() == pytest.approx(0.02, rel=1e-3)
