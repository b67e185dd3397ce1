"""k-ary randomized response, k >= 3: the sums are the enumeration, and unanimity is worst."""

import itertools
import math
from fractions import Fraction

import pytest

from privacy.accounting.errors import PrivacyError
from privacy.shuffle import counts, many_symbols
from privacy.shuffle.mechanisms import RandomizedResponse
from tests.privacy.shuffle import brute


def enumerated(k, eps0, eps, others):
    """delta with these holders of 0, 1 and 2, by enumeration."""
    held = [v for v, count in enumerate(others) for _ in range(count)]
    matrix = RandomizedResponse(k).matrix(eps0)
    return brute.shuffled_delta(matrix, [0, *held], [1, *held], eps)


@pytest.mark.parametrize("tail", [1e-6, 1e-17])
@pytest.mark.parametrize("k", [3, 4, 6])
@pytest.mark.parametrize("others", [(0, 0, 5), (2, 1, 2), (4, 0, 0), (0, 3, 1), (0, 0, 0)])
def test_the_lower_end_is_the_enumeration(k, others, tail):
    eps0, eps = 1.5, 0.6
    low, high = many_symbols.delta(k, eps0, eps, others, tail)
    expected = enumerated(k, eps0, eps, others)
    assert low <= expected * (1 + 1e-12) and expected * (1 - 1e-12) <= high
    assert expected - low <= 2 * tail + 1e-9 * expected
    if k == 3 or others[0] + others[1] == 0:  # nothing to give away
        assert high - low <= 4 * tail + 1e-9 * expected


@pytest.mark.parametrize("k", [3, 5])
@pytest.mark.parametrize("share", [0.4, 0.95])
def test_a_few_counts_certify_what_all_of_them_give(k, share):
    others, eps = (10, 3, 187), 2.0 * share
    whole = many_symbols.delta(k, 2.0, eps, others, 1e-200)
    if share > 0.9:
        assert whole[1] < 1e-9
    assert whole[1] - whole[0] <= (1e-7 if k == 3 else 1e-3) * whole[0]
    for tail in (1e-3, 1e-9, 1e-15, 1e-30):
        low, high = many_symbols.delta(k, 2.0, eps, others, tail)
        assert low <= whole[1] and whole[0] <= high
        assert whole[0] - low <= 2 * tail + 1e-7 * whole[0]
        assert high - whole[1] <= 3 * tail + 1e-7 * whole[1]


def test_a_tiny_delta_keeps_its_digits():
    """Against sums in rational numbers, where a floating transform would be all noise."""
    k, n, eps0, eps = 3, 40, 2.0, 1.99
    rates = [Fraction(r) for r in counts.rates(k, eps0)]
    p, h = rates
    factor = Fraction(math.exp(eps))
    pmf = {}  # of n - 1 bystanders with the third symbol
    for a in range(n):
        for b in range(n - a):
            ways = math.comb(n - 1, a) * math.comb(n - 1 - a, b)
            pmf[a, b] = ways * p ** (a + b) * (1 - 2 * p) ** (n - 1 - a - b)
    total = Fraction(0)
    for a in range(n + 1):
        for b in range(n + 1 - a):
            at = lambda i, j: pmf.get((i, j), Fraction(0))
            one, two, third = at(a - 1, b), at(a, b - 1), at(a, b) * p
            total += max(h * one + p * two + third - factor * (p * one + h * two + third), 0)
    low, high = many_symbols.delta(k, eps0, eps, (0, 0, n - 1), 1e-60)
    assert total < 1e-15
    assert low <= float(total) <= high and high - low < 1e-6 * low


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
                assert found <= high * (1 + 1e-12)


def test_tables_out_of_reach_are_refused():
    for k, n in ((3, 10**9), (4, 10**7)):
        with pytest.raises(PrivacyError, match="out of reach"):
            many_symbols.delta(k, 1.0, 0.1, (0, 0, n), 1e-9)
