"""Events say what they are for; their accounting is in test_ledger."""

import pytest

from privacy.accounting.bound import Adjacency
from privacy.accounting.errors import PrivacyError
from privacy.accounting.events import Gaussian, SampledGaussian


def test_renyi_of_events():
    assert Gaussian(2.0).rdp(4.0, Adjacency.ADD_REMOVE) == pytest.approx(0.5)
    assert Gaussian(2.0).rdp(4.0, Adjacency.REPLACE) == pytest.approx(2.0)
    with pytest.raises(PrivacyError, match="Poisson"):
        SampledGaussian(1.0, 0.1).rdp(2.0, Adjacency.REPLACE)
