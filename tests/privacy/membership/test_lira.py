import numpy as np
import pytest
from scipy import stats

from privacy.membership import lira, table
from tests.privacy.membership import naive


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("spread", ["example", "released"])
def test_online_equals_the_released_formulas(seed, spread):
    target, shadow, member = naive.table(seed)
    expected = naive.lira_online(target, shadow, member, spread == "released")
    found = lira.online(table.make(target, shadow, member), spread=spread)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("spread", lira.SPREADS)
@pytest.mark.parametrize("centre", lira.CENTRES)
def test_the_compact_path_equals_the_masked_one(spread, centre, monkeypatch):
    target, shadow, _ = naive.table(5)
    member = np.zeros(shadow.shape, bool)
    member[:, ::2] = True
    scores = table.make(target, shadow, member)
    assert lira.compact(shadow, member)[1] is None
    fast = lira.online(scores, spread=spread, centre=centre)
    monkeypatch.setattr(lira, "compact", lambda values, mask: (values, mask))
    slow = lira.online(scores, spread=spread, centre=centre)
    np.testing.assert_allclose(fast, slow, rtol=1e-10)


def test_offline_is_the_one_sided_probability():
    target, shadow, _ = naive.table(1)
    scores = table.make(target, shadow)
    found = lira.offline(scores)
    p = stats.norm.cdf(target, np.median(shadow, 1), shadow.std(1))
    np.testing.assert_allclose(found, np.log(p) - np.log1p(-p), rtol=1e-8)
    two = lira.offline(scores, two_sided=True)
    density = stats.norm.logpdf(target, np.median(shadow, 1), shadow.std(1))
    np.testing.assert_allclose(two, -density - 0.5 * np.log(2 * np.pi), rtol=1e-10)


def test_offline_keeps_its_order_where_the_probability_is_one():
    shadow = np.random.default_rng(0).normal(size=(3, 50))
    scores = table.make(np.array([20.0, 30.0, 40.0]), shadow)
    assert np.all(np.diff(lira.offline(scores, spread="pooled")) > 0)


def test_queries_are_averaged():
    target, shadow, member = naive.table(2)
    twice = table.make(np.stack([target, target + 1], 1), np.stack([shadow, shadow * 2], 2), member)
    each = [
        lira.online(table.make(target, shadow, member)),
        lira.online(table.make(target + 1, shadow * 2, member)),
    ]
    np.testing.assert_allclose(lira.online(twice), np.mean(each, 0), rtol=1e-12)


def test_pooled_is_one_deviation_of_each_side():
    target, shadow, _ = naive.table(3)
    member = np.zeros(shadow.shape, bool)
    member[:, :6] = True
    s = [np.sqrt(values.var(1, ddof=1).mean()) for values in (shadow[:, :6], shadow[:, 6:])]
    expected = stats.norm.logpdf(target, shadow[:, :6].mean(1), s[0])
    expected -= stats.norm.logpdf(target, shadow[:, 6:].mean(1), s[1])
    found = lira.online(table.make(target, shadow, member), spread="pooled", centre="mean")
    np.testing.assert_allclose(found, expected, rtol=1e-10)
