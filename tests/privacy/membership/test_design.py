import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from fl_jax.core import errors
from privacy.membership import design


@hypothesis.given(records=st.integers(1, 60), models=st.integers(2, 20), seed=st.integers(0, 9))
@hypothesis.settings(max_examples=30, deadline=None)
def test_every_record_is_in_exactly_half_of_the_models(records, models, seed):
    member = design.balanced(records, models, seed=seed)
    assert set(member.sum(1)) == {round(models * 0.5)}


def test_halves_are_exact_both_ways_and_complements():
    member = design.halves(10, 6, seed=3)
    assert set(member.sum(1)) == {3} and set(member.sum(0)) == {5}
    assert np.array_equal(member[:, 0], ~member[:, 1])
    with pytest.raises(errors.ConfigError, match="even numbers"):
        design.halves(9, 6)


def test_a_share_that_leaves_all_in_is_refused():
    with pytest.raises(errors.ConfigError, match="some IN and some OUT"):
        design.balanced(10, 2, share=0.9)


def test_rows_hold_the_members():
    member = design.balanced(30, 4, seed=1)
    rows, sizes = design.rows(member)
    for model in range(4):
        assert set(rows[model, : sizes[model]]) == set(np.flatnonzero(member[:, model]))


def test_shadow_splits_are_disjoint_within_a_shadow():
    pool = np.arange(100, 150)
    train, out = design.shadow_splits(pool, 5, 20, seed=2)
    for a, b in zip(train, out, strict=True):
        assert not np.intersect1d(a, b).size and np.isin([*a, *b], pool).all()
        assert len(set(a)) == len(set(b)) == 20
    with pytest.raises(errors.DataError, match="the pool has 50"):
        design.shadow_splits(pool, 1, 26)


def test_overlapping_members_are_refused():
    with pytest.raises(errors.DataError, match="share 1 records, the first of them row 7"):
        design.check_disjoint("the pool", np.array([1, 7]), "members", np.array([7, 9]))


@pytest.mark.parametrize(
    "make",
    [
        lambda: design.balanced(5, 4, share=float("nan")),
        lambda: design.balanced(5, 1, share=2.0),
        lambda: design.shadow_splits(np.arange(4), 0, 2),
        lambda: design.shadow_splits(np.arange(4), 2, -1),
    ],
)
def test_counts_and_shares_that_are_none_are_refused(make):
    with pytest.raises(errors.ConfigError):
        make()
