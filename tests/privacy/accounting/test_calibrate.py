"""Calibration returns the far end where it is safe; the search is in test_ledger."""

import math

import pytest

from privacy.accounting.bound import Adjacency
from privacy.accounting.calibrate import calibrate
from privacy.accounting.errors import PrivacyError
from privacy.accounting.events import Gaussian, SampledGaussian
from privacy.accounting.ledger import Ledger


def test_the_other_end_may_do():
    make = lambda s: Ledger(Adjacency.ADD_REMOVE).record(Gaussian(s))
    value, bound = calibrate(make, 5.0, 1e-5, 10.0, 20.0, grows=False)
    assert value == 10.0 and bound.notes == ("10 is the end of what was searched",)


def test_what_cannot_be_evaluated_is_not_safe():
    def make(s):
        if s < 15.0:
            raise PrivacyError("out of reach.")
        return Ledger(Adjacency.ADD_REMOVE).record(Gaussian(s))

    value, bound = calibrate(make, 5.0, 1e-5, 10.0, 20.0, grows=False)
    assert 15.0 <= value < 15.01 and bound.upper <= 5.0


def test_noise_for_rare_participation():
    make = lambda s: Ledger(Adjacency.ADD_REMOVE).record(SampledGaussian(s, 1e-4), 100)
    value, bound = calibrate(make, 1.0, 1e-6, 0.3, 1.0, grows=False, rtol=0.02)
    assert 0.460 < value < 0.475 and 0.9 < bound.upper <= 1.0


def test_a_search_may_begin_at_nothing():
    make = lambda s: Ledger(Adjacency.ADD_REMOVE).record(Gaussian(s))
    value, bound = calibrate(make, 1.0, 1e-5, 0.0, 100.0, grows=False)
    assert 3.72 < value < 3.74 and bound.upper <= 1.0


@pytest.mark.parametrize("low, high", [(100.0, 0.1), (math.nan, 100.0), (1.0, math.inf)])
def test_no_range_is_refused(low, high):
    make = lambda s: Ledger(Adjacency.ADD_REMOVE).record(Gaussian(30.0))
    with pytest.raises(PrivacyError, match=r"low|high"):
        calibrate(make, 1.0, 1e-5, low, high, grows=False)
