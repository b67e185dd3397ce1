"""Binomial probabilities against exact integer arithmetic and 50-digit values."""

import math
from fractions import Fraction

import numpy as np
import pytest

from privacy.accounting import binomial
from privacy.accounting.binomial import Binomial


@pytest.mark.parametrize("n", [1, 2, 7, 30, 200])
@pytest.mark.parametrize("p", [Fraction(1, 2), Fraction(1, 8), Fraction(15, 16), Fraction(1, 1024)])
def test_against_exact_fractions(n, p):
    exact = [math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]
    law = Binomial(float(n), float(p), float(1 - p))
    k = np.arange(n + 1)
    expected = np.array([float(e) for e in exact])
    kept = expected > 1e-290
    np.testing.assert_allclose(np.exp(binomial.log_pmf(k, law))[kept], expected[kept], rtol=1e-12)
    below, above = binomial.tails(k, law)
    for j in range(n + 1):
        low, high = sum(exact[:j]), sum(exact[j:])
        if low <= high and low > 1e-290:
            assert below[j] == pytest.approx(float(low), rel=1e-12)
        elif high > 1e-290:
            assert above[j] == pytest.approx(float(high), rel=1e-12)


# mpmath 1.3 at 50 digits: j pmf(j) int_0^1 (1-v)^(j-1) (1 + v p/q)^(n-j) dv with p = 1/4, whose
# double is exact; j = n/4 + t sqrt(3 n)/4 rounded up
GOLDEN = [
    (1000000.0, 250434.0, 0.15838319254569708),
    (1000000.0, 252599.0, 1.0219587269013613e-09),
    (1000000.0, 255197.0, 2.4437274732815017e-33),
    (1000000000.0, 250013694.0, 0.15864754845749837),
    (1000000000.0, 250082159.0, 9.878307297495477e-10),
    (1000000000.0, 250164317.0, 1.7956760663705696e-33),
    (1000000000000.0, 250000433013.0, 0.1586553667503031),
    (1000000000000.0, 250002598077.0, 9.866245209495944e-10),
    (1000000000000.0, 250005196153.0, 1.777069063152108e-33),
]


@pytest.mark.parametrize("n, j, expected", GOLDEN)
def test_tails_keep_their_digits_to_1e12(n, j, expected):
    law = Binomial(n, 0.25, 0.75)
    assert binomial.tails(np.array([j]), law)[1][0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("n", [10.0, 1e4, 1e9, 1e12])
@pytest.mark.parametrize("p", [1e-6, 0.3, 0.999])
def test_window_leaves_what_it_promises_and_masses_add_up(n, p):
    law = Binomial(n, p, 1 - p)
    lo, hi = binomial.window(law, 30.0)
    below, _ = binomial.tails(np.array([lo]), law)
    _, above = binomial.tails(np.array([hi + 1]), law)
    assert below[0] <= math.exp(-30) and above[0] <= math.exp(-30)
    edges = np.unique(np.round(np.linspace(lo, hi + 1, 40)))
    assert binomial.masses(edges, law).sum() == pytest.approx(1, abs=1e-12)


def test_log1pmx_does_not_cancel():
    x = np.array([1e-12, -1e-9, 1e-3, -0.19, 0.19, 0.5, -0.9])
    near = -(x**2) / 2 + x**3 / 3 - x**4 / 4
    small = np.abs(x) <= 1e-3
    np.testing.assert_allclose(binomial.log1pmx(x)[small], near[small], rtol=1e-9)
    np.testing.assert_allclose(binomial.log1pmx(x)[~small], (np.log1p(x) - x)[~small], rtol=1e-13)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_probabilities_beside_a_p_of_nearly_1(n):
    rare = 2.0**-43
    law = Binomial(float(n), 1 - rare, rare)
    below, above = binomial.tails(np.arange(n + 2.0), law)
    assert below[n] == pytest.approx(-math.expm1(n * math.log1p(-rare)), rel=1e-14, abs=0)
    masses = binomial.between(np.arange(n + 2.0), below, above, law)
    for k in range(n + 1):
        exact = math.comb(n, k) * (1 - rare) ** k * rare ** (n - k)
        assert masses[k] == pytest.approx(exact, rel=1e-11, abs=0)
