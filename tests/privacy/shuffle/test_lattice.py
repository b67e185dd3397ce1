"""Sums of atoms against enumeration over all multinomial counts."""

import math

import numpy as np
import pytest

from privacy.accounting.errors import PrivacyError
from privacy.shuffle import lattice


def enumerated(law, n):
    """E[(G_1 + ... + G_n)_+]."""

    def over(i, left, value, log_mass):
        if i == law.points.size - 1:
            log_mass += left * math.log(law.masses[i]) - math.lgamma(left + 1)
            return math.exp(log_mass) * max(value + left * law.points[i], 0.0)
        return math.fsum(
            over(
                i + 1,
                left - c,
                value + c * law.points[i],
                log_mass + c * math.log(law.masses[i]) - math.lgamma(c + 1),
            )
            for c in range(left + 1)
        )

    return over(0, n, 0.0, math.lgamma(n + 1))


LAWS = [
    ([0.9, -1.1, -0.2, 0.0], [0.2, 0.2, 0.3, 0.3]),
    ([0.5, -2.5, 0.0], [0.1, 0.05, 0.85]),
    ([1.0, -1.0], [0.02, 0.98]),
    ([0.3, -0.3, 0.0], [0.25, 0.25, 0.5]),  # mean 0
    ([7.0, -0.1], [0.001, 0.999]),
]


@pytest.mark.parametrize("points, masses", LAWS)
@pytest.mark.parametrize("n", [1, 2, 7, 40])
def test_both_ends_hold_the_enumerated_value(points, masses, n):
    law = lattice.Law(np.array(points), np.array(masses))
    exact, theta = enumerated(law, n), lattice.tilt(law, n)
    for step, tight in ((0.37, False), (0.01, True)):
        low, high = (side(law, n, theta, step) for side in (lattice.lower, lattice.upper))
        assert low <= exact * (1 + 1e-11) and exact <= high * (1 + 1e-11)
        if tight:
            assert high <= low * (1 + 2e-3)


def test_a_deep_tail_keeps_its_digits():
    law = lattice.Law(np.array([1.0, -1.0]), np.array([0.02, 0.98]))
    exact, theta = enumerated(law, 60), lattice.tilt(law, 60)
    assert exact < 1e-30
    assert lattice.lower(law, 60, theta, 0.1) == pytest.approx(exact, rel=1e-7)
    assert lattice.upper(law, 60, theta, 0.1) == pytest.approx(exact, rel=1e-7)


def test_what_cannot_exceed_0_does_not_and_too_much_is_refused():
    law = lattice.Law(np.array([-0.1, -1.0]), np.array([0.5, 0.5]))
    assert lattice.upper(law, 9, 1.0, 0.1) == lattice.lower(law, 9, 1.0, 0.1) == 0.0
    law = lattice.Law(np.array([0.9, -1.1]), np.array([0.5, 0.5]))
    assert lattice.length(law, 10**9, 0.1, 1e-3) > lattice.LONGEST
    with pytest.raises(PrivacyError, match="out of reach"):
        lattice.upper(law, 10**9, 0.1, 1e-3)
