"""Shuffled rounds in a ledger."""

import pytest

from privacy.accounting.bound import Adjacency
from privacy.accounting.errors import PrivacyError
from privacy.shuffle.events import ShuffledReports


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
