"""The clone pair against enumeration, reference values and its own monotonicity."""

import math

import numpy as np
import pytest

from privacy.shuffle import mixture, pair
from tests.privacy.shuffle import brute

# privacy loss at delta = 1e-6: standard clone, stronger clone (exact sums, spec of the project)
REFERENCE = [
    (0.1, 10**4, 0.0028708, 0.0027940),
    (0.5, 10**4, 0.020401, 0.018117),
    (1.0, 10**4, 0.053005, 0.043206),
    (2.0, 10**4, 0.15505, 0.11440),
    (4.0, 10**4, 0.60091, 0.41081),
    (6.0, 10**4, 5.7210, 1.4724),
    (8.0, 10**5, 2.1886, 1.1766),
    (4.0, 10**6, 0.049307, 0.034280),
    (10.0, 10**6, 1.5971, 0.96011),
]


@pytest.mark.parametrize("n", [1, 2, 3, 10, 30])
@pytest.mark.parametrize("eps0", [0.1, 1.0, 4.0])
@pytest.mark.parametrize("make", [pair.standard, pair.stronger])
def test_delta_is_the_enumerated_one(n, eps0, make):
    part = make(eps0, n)
    p, q = brute.pair(eps0, n, part.rate)
    for share in (0.0, 0.01, 0.3, 0.7, 0.99):
        eps = share * eps0
        expected = brute.delta(p, q, eps)
        low, high = pair.delta(part, eps)
        assert low <= expected * (1 + 1e-12) + 1e-15 and high >= expected * (1 - 1e-12) - 1e-15
        assert high - low <= 2e-10 * high + 1e-15
        # the sum itself, without the certificate's slack
        whole = pair.make(part, 64, 60.0)
        value = math.exp(float(mixture.log_bounds(whole, np.array([eps]))[1][0]))
        assert value == pytest.approx(expected, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("eps0, n, standard, stronger", REFERENCE)
def test_reference_values_lie_in_the_bracket(eps0, n, standard, stronger):
    for make, value in ((pair.standard, standard), (pair.stronger, stronger)):
        found = pair.epsilon(make(eps0, n), 1e-6)
        assert found.lower * (1 - 3e-5) <= value <= found.upper * (1 + 3e-5)
        assert found.upper <= found.lower * 1.001


@pytest.mark.parametrize("eps0", [0.1, 1.0, 4.0, 8.0])
@pytest.mark.parametrize("n", [10**3, 10**5, 10**7, 10**9, 10**12])
def test_blocks_close_up_around_the_exact_sum(eps0, n):
    part = pair.standard(eps0, n)
    wide = pair.epsilon(part, 1e-8, 1e-2)
    normal = pair.epsilon(part, 1e-8, 1e-3)
    fine = pair.epsilon(part, 1e-8, 1e-6)
    assert wide.lower <= fine.upper and fine.lower <= wide.upper
    assert normal.lower <= fine.upper and fine.lower <= normal.upper
    assert normal.upper <= normal.lower * (1 + 1e-3)
    assert fine.upper <= fine.lower * (1 + 1e-6)


def test_more_users_or_clones_never_hurt_and_eps_follows_delta():
    for n in (10, 1000, 10**6):
        low, _ = pair.delta(pair.standard(1.0, n), 0.01)
        _, high = pair.delta(pair.standard(1.0, 2 * n), 0.01)
        assert high <= low
        assert pair.delta(pair.stronger(1.0, n), 0.01)[1] <= low * (1 + 1e-9)
    part = pair.standard(2.0, 5000)
    for eps in (0.05, 0.2, 0.4):
        value = pair.delta(part, eps)[1]
        found = pair.epsilon(part, value, 1e-9)
        assert found.lower * (1 - 1e-8) <= eps <= found.upper * (1 + 1e-8)


def test_one_user_is_not_amplified():
    w0 = 1 / (1 + math.exp(-1.5))
    for eps in (0.0, 0.5, 1.2):
        expected = w0 - math.exp(eps) * (1 - w0)
        low, high = pair.delta(pair.standard(1.5, 1), eps)
        assert low == pytest.approx(expected, rel=1e-10) == high
