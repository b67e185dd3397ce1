"""The strike."""

import numpy as np

from privacy import shuffle
from privacy.shuffle import mixture


def test_strike_and_its_complement_add_up():
    y, z = mixture.strike(np.linspace(0, 3.99, 50), 4.0)
    np.testing.assert_allclose(y + z, 1.0, rtol=1e-14)


def test_beyond_double_range_delta_is_still_bounded():
    # Three reports at eps0 = 900 hide nothing: delta is 1 - e^(eps - eps0) but for e^-900.
    for eps in (590.0, 700.0, 751.0, 899.0):
        found = shuffle.delta(eps, 900.0, 3)
        assert found.lower <= -np.expm1(eps - 900.0) + 1e-12 <= found.upper + 2e-12
    assert shuffle.delta(900.0, 900.0, 3).upper == 0
