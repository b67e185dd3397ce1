"""Closed forms: their published values and regions."""

import pytest

from privacy.accounting.errors import RegionError
from privacy.shuffle import closed_form


def test_values_and_regions():
    assert closed_form.standard(4.0, 100_000, 1e-6) == pytest.approx(0.5346, abs=5e-4)
    assert closed_form.stronger(4.0, 100_000, 1e-6) == pytest.approx(0.408, abs=5e-4)
    for form in (closed_form.standard, closed_form.stronger, closed_form.first):
        with pytest.raises(RegionError):
            form(9.0, 1000, 1e-6)
