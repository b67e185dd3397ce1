"""Arguments are refused in one sentence."""

import pytest

from privacy.accounting import errors


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_positive(value):
    with pytest.raises(errors.PrivacyError, match="x must be"):
        errors.positive("x", value)


def test_whole_numbers_beyond_doubles_are_too_large():
    with pytest.raises(errors.PrivacyError, match="n is too large"):
        errors.count("n", 10**400)
