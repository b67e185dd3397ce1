"""What is not a loss distribution is refused; the round trip is in test_ledger."""

import pytest

from privacy.accounting import interop
from privacy.accounting.errors import PrivacyError


def test_refused():
    with pytest.raises(PrivacyError, match="dp_accounting"):
        interop.load("pmf")
