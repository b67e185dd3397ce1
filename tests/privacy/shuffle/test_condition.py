"""Condition (*) and the local privacy loss of finite randomizers; more in test_mechanisms."""

import numpy as np
import pytest

from privacy.accounting.errors import PrivacyError
from privacy.shuffle import condition


def test_zero_probabilities_and_bad_rows():
    assert condition.local_epsilon(np.eye(2)) == np.inf
    with pytest.raises(PrivacyError, match="distributions"):
        condition.local_epsilon(np.ones((2, 2)))
    with pytest.raises(PrivacyError, match="distributions"):
        condition.local_epsilon(np.array([[np.nan, 1.0], [0.5, 0.5]]))
