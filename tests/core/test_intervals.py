"""Bounds of a probability, against the binomial law itself."""

import pytest
from scipy import stats

from fl_jax.core import intervals


@pytest.mark.parametrize("hits, trials", [(0, 10), (3, 10), (10, 10), (17, 400)])
def test_an_end_is_where_so_many_hits_become_unlikely(hits, trials):
    low, high = intervals.clopper_pearson(hits, trials, 0.025)
    assert 0 <= low <= hits / trials <= high <= 1
    if hits:
        assert stats.binom(trials, low).sf(hits - 1) == pytest.approx(0.025)
    if hits < trials:
        assert stats.binom(trials, high).cdf(hits) == pytest.approx(0.025)
    assert (low == 0) == (hits == 0) and (high == 1) == (hits == trials)


def test_a_level_that_float64_does_not_tell_from_0_beside_1_has_its_bound():
    """1 - 1e-20 is 1, of which no bound below 1 comes."""
    _, high = intervals.clopper_pearson(3, 1000, 1e-20)
    assert stats.binom(1000, high).cdf(3) == pytest.approx(1e-20)
