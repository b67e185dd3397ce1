"""Calibration returns the far end where it is safe; the search is in test_ledger."""

from privacy.accounting.bound import Adjacency
from privacy.accounting.calibrate import calibrate
from privacy.accounting.events import Gaussian
from privacy.accounting.ledger import Ledger


def test_the_other_end_may_do():
    make = lambda s: Ledger(Adjacency.ADD_REMOVE).record(Gaussian(s))
    assert calibrate(make, 5.0, 1e-5, 10.0, 20.0, grows=False)[0] == 10.0
