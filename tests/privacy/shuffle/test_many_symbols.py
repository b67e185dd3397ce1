"""k-ary randomized response, k >= 3: the transform is the enumeration, and unanimity is worst."""

import itertools

import pytest

from privacy.accounting.errors import PrivacyError
from privacy.shuffle import many_symbols
from privacy.shuffle.mechanisms import RandomizedResponse
from tests.privacy.shuffle import brute


def enumerated(k, eps0, eps, others):
    """delta with these holders of 0, 1 and 2, by enumeration."""
    held = [v for v, count in enumerate(others) for _ in range(count)]
    matrix = RandomizedResponse(k).matrix(eps0)
    return brute.shuffled_delta(matrix, [0, *held], [1, *held], eps)


@pytest.mark.parametrize("tail", [1e-6, 1e-17])  # float64 and extended precision
@pytest.mark.parametrize("k", [3, 4, 6])
@pytest.mark.parametrize("others", [(0, 0, 5), (2, 1, 2), (4, 0, 0), (0, 3, 1), (0, 0, 0)])
def test_the_transform_is_the_enumeration(k, others, tail):
    eps0, eps = 1.5, 0.6
    low, high = many_symbols.delta(k, eps0, eps, others, tail)
    expected = enumerated(k, eps0, eps, others)
    assert low - 1e-15 <= expected <= high + 1e-15
    assert high - low <= 2 * tail + 1e-12


def test_a_window_certifies_what_a_whole_transform_gives(monkeypatch):
    others, tail = (10, 3, 187), 1e-9
    assert max(many_symbols.window(3, 2.0, 0.8, others, tail)) < 150
    low, high = many_symbols.delta(3, 2.0, 0.8, others, tail)
    whole = lambda *args: [202, 202]
    monkeypatch.setattr(many_symbols, "window", whole)
    exact = many_symbols.delta(3, 2.0, 0.8, others, tail)
    assert low <= exact[1] and exact[0] <= high and high - low < 3e-9


@pytest.mark.parametrize("k, n, eps0", [(4, 6, 1.0), (4, 5, 2.5), (5, 5, 0.7)])
def test_bystanders_with_other_symbols_are_worst_when_unanimous(k, n, eps0):
    matrix = RandomizedResponse(k).matrix(eps0)
    for share in (0.05, 0.3, 0.6, 0.9):
        for ones, twos in ((0, 0), (1, 0), (0, 1), (1, 1)):
            rest = n - 1 - ones - twos
            held = [0] * ones + [1] * twos
            worst = enumerated(k, eps0, share * eps0, (ones, twos, rest))
            for other in itertools.combinations_with_replacement(range(2, k), rest):
                data = [*held, *other]
                found = brute.shuffled_delta(matrix, [0, *data], [1, *data], share * eps0)
                assert found <= worst * (1 + 1e-12) + 1e-16


def test_windows_out_of_reach_are_refused():
    with pytest.raises(PrivacyError, match="out of reach"):
        many_symbols.delta(4, 1.0, 0.1, (0, 0, 10**5), 1e-9)
