"""The strike."""

import numpy as np

from privacy.shuffle import mixture


def test_strike_and_its_complement_add_up():
    y, z = mixture.strike(np.linspace(0, 3.99, 50), 4.0)
    np.testing.assert_allclose(y + z, 1.0, rtol=1e-14)
