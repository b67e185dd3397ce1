"""The root finder's bracket is a certificate, found in few steps."""

import math

import pytest

from privacy.accounting import roots


@pytest.mark.parametrize("guess, slope", [(None, None), (1.0, None), (1.0, -2.0), (4.9, -1e-3)])
def test_both_ends_hold(guess, slope):
    calls = []
    value = lambda x: calls.append(x) or 2 - x * x
    low, high = roots.bracket(value, 0.0, 5.0, 1e-9, guess, slope)
    assert low <= math.sqrt(2) <= high and high - low <= 1.5e-9
    assert low in calls and high in calls and len(calls) <= 20


def test_no_root_inside():
    assert roots.bracket(lambda x: -1.0, 0.0, 5.0, 1e-9) == (0.0, 0.0)
    assert roots.bracket(lambda x: -1.0, 0.0, 5.0, 1e-9, 2.0) == (0.0, 0.0)
    assert roots.bracket(lambda x: 1.0, 0.0, 5.0, 1e-9) == (5.0, math.inf)


def test_steps_and_plateaus_end():
    low, high = roots.bracket(lambda x: 1.0 if x < 0.3 else -1.0, 0.0, 5.0, 1e-6, 1.0)
    assert low < 0.3 <= high and high - low <= 1e-6 * high
