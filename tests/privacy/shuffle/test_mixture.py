"""The root finder and the strike."""

import math

import numpy as np

from privacy.shuffle import mixture


def test_root_brackets_from_both_sides():
    low, high = mixture.root(lambda x: 2 - x * x, 0.0, 5.0, 1e-9, 1.0)
    assert low <= math.sqrt(2) <= high and high - low <= 1e-8
    assert mixture.root(lambda x: -1.0, 0.0, 5.0, 1e-9, None) == (0.0, 0.0)
    assert mixture.root(lambda x: 1.0, 0.0, 5.0, 1e-9, None) == (5.0, math.inf)


def test_strike_and_its_complement_add_up():
    y, z = mixture.strike(np.linspace(0, 3.99, 50), 4.0)
    np.testing.assert_allclose(y + z, 1.0, rtol=1e-14)
