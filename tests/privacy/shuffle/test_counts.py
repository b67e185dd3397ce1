"""The law of the bystanders' counts: against products of their generating polynomials."""

import numpy as np
import pytest

from privacy.accounting.errors import PrivacyError
from privacy.shuffle import counts


def multiplied(k, eps0, others):
    """Pr[N1, N2, guests], one bystander after the other; with three symbols no guests are told."""
    p, h = counts.rates(k, eps0)
    n, guest = sum(others), (k - 2) * p
    law = np.zeros((n + 1,) * 3)
    law[0, 0, 0] = 1.0
    for own, of in (((h, p), 0), ((p, h), 1), ((p, p), 2)):
        away, left = (0.0, 1 - 2 * p) if of == 2 else (guest, 0.0)
        for _ in range(others[of]):
            moved = left * law
            moved[1:] += own[0] * law[:-1]
            moved[:, 1:] += own[1] * law[:, :-1]
            moved[:, :, 1:] += away * law[:, :, :-1]
            law = moved
    return law.sum(axis=2, keepdims=True) if k == 3 else law


@pytest.mark.parametrize(
    "k, eps0, others",
    [
        (3, 1.0, (5, 3, 7)),
        (3, 8.0, (0, 0, 30)),
        (4, 1.5, (6, 0, 9)),
        (5, 0.7, (0, 0, 12)),
        (6, 2.0, (4, 7, 0)),
        (9, 0.01, (0, 5, 5)),
        (3, 1.0, (0, 0, 0)),
        (4, 1.0, (0, 0, 0)),
    ],
)
def test_every_probability_has_all_its_digits(k, eps0, others):
    found = counts.law(k, eps0, others, 700.0)
    expected = multiplied(k, eps0, others)
    a, b, c = found.first
    shape = found.table.shape
    assert np.all(found.table >= 0) and found.error < 1e-10
    expected = np.pad(expected, [(0, 60)] * 3)[a : a + shape[0], b : b + shape[1], c : c + shape[2]]
    seen = found.table[expected > 0]
    assert np.all(np.abs(seen / expected[expected > 0] - 1) <= found.error + 1e-12)
    assert not found.table[expected == 0].any()
    assert found.table.sum() == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("k", [3, 7])
def test_what_is_left_out_is_small(k):
    for exponent in (5.0, 15.0, 30.0):
        found = counts.law(k, 1.0, (40, 20, 400), exponent)
        assert 1 - 12 * np.exp(-exponent) - 1e-9 <= found.table.sum() <= 1 + 1e-9


def test_the_rule_for_the_factorials_is_held_to_them():
    for span in (counts.Span(0, 3), counts.Span(0, 500), counts.Span(90, 110)):
        t, weight, error = counts._factorials(span)
        assert error < 1e-11 and t.size == weight.size
    assert counts._factorials(counts.Span(10_000, 10_100))[0].size < 60


def test_tables_out_of_reach_are_refused():
    with pytest.raises(PrivacyError, match="out of reach"):
        counts.law(3, 1.0, (0, 0, 10**9), 40.0)
