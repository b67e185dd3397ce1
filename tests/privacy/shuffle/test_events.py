"""Shuffled rounds in a ledger."""

import pytest

from privacy.accounting import gaussian
from privacy.accounting.bound import Adjacency
from privacy.accounting.errors import PrivacyError, WrongAccountantError
from privacy.accounting.ledger import Ledger
from privacy.shuffle.events import GaussianReports, ShuffledReports


def test_missing_reports_do_not_count_and_renyi_is_the_pairs():
    some = ShuffledReports(1.0, 1000, missing=100).profiles(Adjacency.REPLACE)[0].scale()
    less = ShuffledReports(1.0, 900).profiles(Adjacency.REPLACE)[0].scale()
    assert some == pytest.approx(less, rel=1e-9)
    assert ShuffledReports(1.0, 1000).rdp(2.0, Adjacency.REPLACE).upper < 0.0024
    with pytest.raises(PrivacyError):
        ShuffledReports(1.0, 10, missing=10)


def test_a_closed_form_is_no_event():
    """It would otherwise be taken for the stronger pair under a universal label."""
    for name in ("closed-standard", "closed-stronger"):
        with pytest.raises(PrivacyError, match="no privacy profile"):
            ShuffledReports(1.0, 1000, bound=name)


def test_gaussian_reports_are_accounted_locally_and_say_so():
    ledger = Ledger(Adjacency.REPLACE).record(GaussianReports(24.0, 2.0), 10)
    found = ledger.epsilon(1e-5)
    mu = 10**0.5 * 2 * 2.0 / 24.0  # ten releases of one report, replaced at distance 2 radius
    assert gaussian.delta(found.lower, mu) >= 1e-5 * (1 - 1e-9)
    assert gaussian.delta(found.upper, mu) <= 1e-5 * (1 + 1e-9)
    assert found.notes == ("no amplification: the local guarantee",)
    assert ledger.rdp_epsilon(1e-5) > found.upper
    with pytest.raises(WrongAccountantError, match="replace-one"):
        Ledger(Adjacency.ADD_REMOVE).record(GaussianReports(1.0)).epsilon(1e-5)
