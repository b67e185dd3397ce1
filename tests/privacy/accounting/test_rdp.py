"""Renyi conversion keeps above the truth; more in test_ledger and test_gaussian."""

from privacy.accounting import gaussian, rdp


def test_conversion_is_valid():
    eps, order = rdp.epsilon(lambda a: rdp.gaussian(a, 0.3), 1e-6)
    assert order > 1 and float(gaussian.delta(eps, 0.3)) <= 1e-6
