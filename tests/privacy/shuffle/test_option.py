"""The call option against sums of fractions and against 50-digit arithmetic to m = 1e12."""

import math
from fractions import Fraction

import numpy as np
import pytest

from privacy.shuffle import option


def exact(m, y):
    y = Fraction(y)
    return sum(
        Fraction(math.comb(m, a), 2**m) * max(Fraction(2 * a - m, m) - y, 0) for a in range(m + 1)
    )


@pytest.mark.parametrize("m", [1, 2, 3, 4, 5, 8, 17, 64, 301])
@pytest.mark.parametrize("y", [0.0, 0.01, 0.25, 0.5, 0.75, 0.96875])
def test_against_fractions(m, y):
    value = math.exp(float(option.log_call(np.array([float(m)]), np.array([y]))[0]))
    assert value == pytest.approx(float(exact(m, y)), rel=1e-13)
    for rule in (option.COARSE, option.ROUGH):
        value = float(option.log_call(np.array([float(m)]), np.array([y]), rule=rule)[0])
        assert math.exp(value) == pytest.approx(float(exact(m, y)), rel=rule.error)


# mpmath 1.3 at 50 digits, (1-y)/2 b(j-1; m-1) (1 - 2y/(1-y) Mills), Mills by quadrature;
# y = round(t sqrt(m))/m as the nearest double: log call
GOLDEN = [
    (10000.0, 0.0, -5.524133719192722),
    (10000.0, 0.01, -7.090388026719095),
    (10000.0, 0.05, -21.355966998156582),
    (10000.0, 0.09, -50.51305831601118),
    (1000000.0, 0.0, -7.82669406218681),
    (1000000.0, 0.001, -9.392877272785787),
    (1000000.0, 0.005, -23.652121330184695),
    (1000000.0, 0.009, -52.757284112573586),
    (1000000000.0, 0.0, -11.280571451927878),
    (1000000000.0, 3.1623e-05, -12.846767396396428),
    (1000000000.0, 0.000158114, -27.105953982596684),
    (1000000000.0, 0.000284605, -56.210577841038685),
    (1000000000000.0, 0.0, -14.734449091169196),
    (1000000000000.0, 1e-06, -16.300631583677884),
    (1000000000000.0, 5e-06, -30.559811720690153),
    (1000000000000.0, 9e-06, -59.66445185122083),
]


@pytest.mark.parametrize("m, y, expected", GOLDEN)
def test_against_fifty_digits(m, y, expected):
    for rule in (option.FINE, option.COARSE, option.ROUGH):
        value = float(option.log_call(np.array([m]), np.array([y]), rule=rule)[0])
        assert abs(value - expected) <= rule.error


def test_falls_in_size_and_in_strike():
    sizes = np.unique(np.geomspace(1, 1e12, 300).round())
    values = option.log_call(sizes, np.full(sizes.shape, 1e-4))
    assert np.all(np.diff(values) <= 1e-12)
    strikes = np.linspace(0, 0.999, 300)
    assert np.all(np.diff(option.log_call(np.full(300, 50.0), strikes)) < 0)


def test_beyond_the_largest_mean_it_is_worth_nothing():
    assert option.log_call(np.array([5.0, 5.0]), np.array([1.0, 3.0])).tolist() == [-np.inf] * 2
