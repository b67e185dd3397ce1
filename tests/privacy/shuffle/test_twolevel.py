"""The blanket against enumeration, and the guard against the erratum."""

import math

import mpmath
import numpy as np
import pytest

from privacy.shuffle import mixture, pair, twolevel
from privacy.shuffle.mechanisms import RandomizedResponse, SubsetSelection
from tests.privacy.shuffle import brute, precise


def blanket(level, n, eps):
    part = twolevel.make(level, n, 64, 60.0, twolevel.Saddle(0.0, 0.0), 64)
    low, high = mixture.bracket(part, np.array([eps]), n)
    return float(low[0]), float(high[0])


@pytest.mark.parametrize("k, n", [(2, 8), (3, 6), (4, 5), (6, 4)])
@pytest.mark.parametrize("eps0", [0.5, 2.0])
def test_krr_blanket_is_the_enumerated_one(k, n, eps0):
    level = RandomizedResponse(k).level(eps0)
    matrix = RandomizedResponse(k).matrix(eps0)
    uniform = np.full(k, 1 / k)
    for share in (0.1, 0.5, 0.85):
        eps = share * eps0
        expected = brute.blanket_delta(uniform, level.gamma, matrix[0], matrix[1], n, eps)
        low, high = blanket(level, n, eps)
        assert low <= expected * (1 + 1e-9) and high >= expected * (1 - 1e-9)
        assert high <= expected * (1 + 1e-9)  # every whole number is a block: no gap is left


@pytest.mark.parametrize("k, size, n", [(4, 2, 4), (5, 2, 3), (4, 3, 4)])
def test_blanket_with_outputs_high_for_both(k, size, n):
    import itertools

    eps0, eps = 1.5, 0.6
    subsets = list(itertools.combinations(range(k), size))
    e0 = math.exp(eps0)
    weight = np.array([[e0 if x in s else 1.0 for s in subsets] for x in range(k)])
    matrix = weight / weight.sum(1, keepdims=True)
    level = SubsetSelection(k, size).level(eps0)
    uniform = np.full(len(subsets), 1 / len(subsets))
    expected = brute.blanket_delta(uniform, level.gamma, matrix[0], matrix[1], n, eps)
    low, high = blanket(level, n, eps)
    assert low <= expected * (1 + 1e-9)
    assert expected * (1 - 1e-9) <= high <= expected * (1 + 1e-9)


@pytest.mark.parametrize("n, k, eps0", [(5, 5, 2.0), (5, 4, 1.0)])
def test_the_erratum_stays_out(n, k, eps0):
    """Enumeration exceeds the merged pair for k >= 4: it must never serve as an upper bound."""
    matrix = RandomizedResponse(k).matrix(eps0)
    level = RandomizedResponse(k).level(eps0)
    others = [2] * (n - 1)
    eps = 0.85 * eps0
    true = brute.shuffled_delta(matrix, [0, *others], [1, *others], eps)
    part = twolevel.merged(eps0, n, level.only, level.only, 64, 60.0)
    claimed = float(mixture.bracket(part, np.array([eps]), n)[1][0])
    assert true > 1.2 * claimed
    assert blanket(level, n, eps)[1] >= true * (1 - 1e-12)
    assert pair.delta(pair.stronger(eps0, n), eps)[1] >= true  # k-RR satisfies (*)


def test_merged_is_attained_for_three_symbols():
    eps0, n = 2.0, 5
    matrix = RandomizedResponse(3).matrix(eps0)
    p = RandomizedResponse(3).level(eps0).only
    part = twolevel.merged(eps0, n, p, p, 64, 60.0)
    for share in (0.1, 0.5, 0.85):
        true = brute.shuffled_delta(matrix, [0, 2, 2, 2, 2], [1, 2, 2, 2, 2], share * eps0)
        low, high = mixture.bracket(part, np.array([share * eps0]), n)
        assert float(high[0]) == pytest.approx(true, rel=1e-9)
        assert float(low[0]) == pytest.approx(true, rel=1e-9)


@pytest.mark.parametrize("eps0, k", [(1.0, 3), (1.0, 100), (4.0, 3), (4.0, 10), (4.0, 100)])
def test_krr_sandwich_is_within_half_a_percent(eps0, k):
    from privacy import shuffle

    for n in (10**4, 10**6):
        if n / (math.exp(eps0) + k - 1) >= 15:
            found = shuffle.epsilon(eps0, n, 1e-6, mechanism=RandomizedResponse(k))
            assert found.attained <= found.upper <= found.attained * 1.005


def test_two_symbols_are_the_stronger_pair():
    level = RandomizedResponse(2).level(1.5)
    for n in (2, 50, 5000):
        one = twolevel.delta(level, n, 0.1, 1e-3)
        other = pair.delta(pair.stronger(1.5, n), 0.1)
        assert one[0] <= other[1] * (1 + 1e-9) and other[0] <= one[1] * (1 + 1e-9)


@pytest.mark.parametrize("n", [1, 6, 40])
@pytest.mark.parametrize(
    "mechanism", [RandomizedResponse(2), RandomizedResponse(9), SubsetSelection(6, 3)]
)
def test_the_lattice_and_the_blocks_agree(n, mechanism):
    level = mechanism.level(1.2)
    for eps in (0.01, 0.3, 1.1):
        one = blanket(level, n, eps)
        other = twolevel.by_lattice(level, n, eps, 0.01)
        assert other[0] <= one[1] * (1 + 1e-9) + 1e-300 and one[0] <= other[1] * (1 + 1e-9) + 1e-300
        assert other[1] <= other[0] * 1.02 + 1e-300


@pytest.mark.parametrize("eps0, k, n, delta", [(0.36, 15, 3302, 1e-23), (1.2, 27, 577, 1e-30)])
def test_tiny_deltas_keep_a_narrow_bracket(eps0, k, n, delta):
    from privacy.shuffle.mechanisms import LocalHashing

    found = twolevel.epsilon(LocalHashing(k).level(eps0), n, delta)
    assert 0 < found.lower <= found.upper <= found.lower * 1.001


@pytest.mark.parametrize("k", [10, 10**6, 10**12])
@pytest.mark.parametrize("eps0", [1e-6, 0.3, 4.0])
@pytest.mark.parametrize("n", [2, 3, 5])
def test_the_certificate_holds_with_very_many_symbols(k, eps0, n):
    """Hardly a report is not the blanket's: 1 - gamma is lost in the rounding of gamma."""
    e0 = mpmath.exp(mpmath.mpf(eps0))
    p = 1 / (e0 + k - 1)
    for eps in (0.3 * eps0, 0.9 * eps0):
        exact = precise.blanket(eps0, p, mpmath.mpf(0), (k - 2) * p, n, eps)
        low, high = twolevel.delta(RandomizedResponse(k).level(eps0), n, eps)
        assert low <= exact <= high <= low * 1.001
