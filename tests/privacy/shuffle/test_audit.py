"""The audit's statistics; the attack itself is in test_federated."""

import numpy as np
import pytest

from privacy.accounting.errors import PrivacyError
from privacy.shuffle import audit


def test_separated_scores_prove_much_and_few_prove_nothing():
    assert audit.lower_bound(np.ones(2000), np.zeros(2000), 1e-6) > 4
    with pytest.raises(PrivacyError, match="four"):
        audit.lower_bound(np.ones(2), np.zeros(2), 1e-6)
    with pytest.raises(PrivacyError, match="NaN"):
        audit.lower_bound(np.ones(8), np.array([0.0] * 7 + [np.nan]), 1e-6)


def test_only_the_order_of_scores_counts():
    first, second = np.arange(2000.0) + 1500, np.arange(2000.0)
    found = audit.lower_bound(first, second, 1e-6)
    assert found > 0
    assert audit.lower_bound(first**3, second**3, 1e-6) == found
    # a likelihood that is 0 under one record is an infinite score, and an attack that never errs
    ends = audit.lower_bound(np.full(2000, np.inf), np.full(2000, -np.inf), 1e-6)
    assert ends == audit.lower_bound(np.ones(2000, bool), np.zeros(2000, bool), 1e-6) > 4


@pytest.mark.parametrize("confidence", [0.0, 1.0, -1.0, 1.5])
def test_a_confidence_that_is_none_is_refused(confidence):
    with pytest.raises(PrivacyError, match="confidence"):
        audit.lower_bound(np.ones(8), np.zeros(8), 1e-6, confidence=confidence)
    with pytest.raises(PrivacyError, match="one score a trial"):
        audit.lower_bound(np.ones((8, 2)), np.zeros(8), 1e-6)
