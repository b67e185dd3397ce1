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
def test_the_lower_end_is_the_enumeration(k, others, tail):
    eps0, eps = 1.5, 0.6
    low, high = many_symbols.delta(k, eps0, eps, others, tail)
    expected = enumerated(k, eps0, eps, others)
    assert low <= expected * (1 + 1e-12) + 1e-16 and expected <= high
    assert expected - low <= tail + 1e-12
    if k == 3 or others[0] + others[1] == 0:  # nothing to give away
        assert high - low <= 2 * tail + 1e-12


def test_a_window_certifies_what_a_whole_transform_gives(monkeypatch):
    others, tail = (10, 3, 187), 1e-9
    for k in (3, 5):
        low, high = many_symbols.delta(k, 2.0, 0.8, others, tail)
        seen = many_symbols.window(k, 2.0, 0.8, others, tail)
        assert max(seen.width) < 150
        whole = many_symbols.Window(
            (0,) * (2 if k == 3 else 3), (202, 202, 15)[: 2 if k == 3 else 3]
        )
        monkeypatch.setattr(many_symbols, "window", lambda *args, whole=whole: whole)
        exact = many_symbols.delta(k, 2.0, 0.8, others, tail)
        monkeypatch.undo()
        assert low <= exact[1] and exact[0] <= high and high - low < 3e-9


@pytest.mark.parametrize("k, n, eps0", [(4, 6, 1.0), (4, 5, 2.5), (5, 5, 0.7)])
def test_the_upper_end_holds_whatever_symbols_bystanders_hold(k, n, eps0):
    matrix = RandomizedResponse(k).matrix(eps0)
    for share in (0.05, 0.3, 0.6, 0.9):
        for ones, twos in itertools.product(range(n), range(n)):
            rest = n - 1 - ones - twos
            if rest < 0:
                continue
            held = [0] * ones + [1] * twos
            high = many_symbols.delta(k, eps0, share * eps0, (ones, twos, rest), 1e-15)[1]
            for other in itertools.combinations_with_replacement(range(2, k), rest):
                data = [*held, *other]
                found = brute.shuffled_delta(matrix, [0, *data], [1, *data], share * eps0)
                assert found <= high * (1 + 1e-12) + 1e-16


def test_windows_out_of_reach_are_refused():
    for k, n in ((3, 10**9), (4, 10**7)):
        with pytest.raises(PrivacyError, match="out of reach"):
            many_symbols.delta(k, 1.0, 0.1, (0, 0, n), 1e-9)
