"""Lower bounds on the true loss are below every correct upper bound, and are attained."""

import pytest

from privacy.shuffle import attained, pair
from privacy.shuffle.mechanisms import RandomizedResponse
from tests.privacy.shuffle import brute

# best of L1 and L2 at delta = 1e-6 (spec of the project)
REFERENCE = [(0.1, 0.0027221), (0.5, 0.016181), (1.0, 0.037998), (2.0, 0.10766), (4.0, 0.40663)]


@pytest.mark.parametrize("eps0, value", REFERENCE)
def test_reference_values(eps0, value):
    found = attained.epsilon(eps0, 10**4, 1e-6)
    assert value * (1 - 1.1e-3) <= found <= value * (1 + 3e-5)
    assert found <= pair.epsilon(pair.standard(eps0, 10**4), 1e-6).upper


@pytest.mark.parametrize("eps0", [0.5, 2.0])
def test_binary_delta_is_the_enumerated_one(eps0):
    matrix = RandomizedResponse(2).matrix(eps0)
    n = 7
    for share in (0.1, 0.4, 0.8):
        eps = share * eps0
        zeros = [0] * (n - 1)
        expected = max(
            brute.shuffled_delta(matrix, [0, *zeros], [1, *zeros], eps),
            brute.shuffled_delta(matrix, [1, *zeros], [0, *zeros], eps),
        )
        assert attained.binary_delta(eps0, n, eps) == pytest.approx(expected, rel=1e-9, abs=1e-13)


def test_two_users_are_worth_no_warning():
    found = attained.epsilon(0.5, 2, 1e-6)  # a warning would be an error here
    assert 0 < found <= pair.epsilon(pair.standard(0.5, 2), 1e-6, 1e-3).upper
