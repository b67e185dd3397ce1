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
