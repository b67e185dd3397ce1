"""Packing loses nothing, mixes nothing up, and leaves little empty."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fl_jax.core import errors
from fl_jax.data import packing

LENGTHS = st.lists(st.integers(1, 50), max_size=200)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(LENGTHS, st.sampled_from(["best_fit", "next_fit"]))
def test_every_item_is_in_one_bin_and_no_bin_overflows(lengths, how):
    bins = getattr(packing, how)(lengths, 50)
    assert sorted(i for b in bins for i in b) == list(range(len(lengths)))
    assert all(sum(lengths[i] for i in b) <= 50 for b in bins)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(LENGTHS)
def test_best_fit_is_that_of_the_definition(lengths):
    bins, left = [], []
    for i in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        fits = [b for b in range(len(bins)) if left[b] >= lengths[i]]
        if fits:
            best = min(left[b] for b in fits)
            chosen = [b for b in fits if left[b] == best][-1]
        else:
            bins.append([])
            left.append(50)
            chosen = len(bins) - 1
        bins[chosen].append(i)
        left[chosen] -= lengths[i]
    found = packing.best_fit(lengths, 50)
    assert sorted(sum(lengths[i] for i in b) for b in found) == sorted(50 - r for r in left)


def test_best_fit_fills_rows_to_98_percent():
    """Lengths as documents have them: log-normal, cut at the row."""
    drawn = np.random.default_rng(0).lognormal(4.5, 1.0, 5000)
    lengths = np.clip(drawn, 1, 2049).astype(int).tolist()
    bins = packing.best_fit(lengths, 2049)
    assert sum(lengths) / (len(bins) * 2049) >= 0.98


def test_rows_hold_whole_examples_with_segments_and_spans():
    examples = [
        packing.Example([1, 2, 3], 1),
        packing.Example([], 0),
        packing.Example([4, 5], 1),
        packing.Example([6, 7, 8, 9]),
    ]
    packed = packing.pack(examples, 6)
    assert packed.members == [[3, 2], [0]]
    np.testing.assert_array_equal(packed.tokens, [[6, 7, 8, 9, 4, 5], [1, 2, 3, 0, 0, 0]])
    np.testing.assert_array_equal(packed.segments, [[1, 1, 1, 1, 2, 2], [1, 1, 1, 0, 0, 0]])
    np.testing.assert_array_equal(packed.spans, [[1, 1, 1, 1, 0, 2], [0, 1, 1, 0, 0, 0]])
    assert packed.filled == 9 / 12


def test_cut_overlaps_by_the_token_that_is_predicted_from():
    rows = packing.cut(np.arange(11), 3)
    np.testing.assert_array_equal(rows, [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9]])
    assert packing.cut(np.arange(1), 3).shape == (0, 4)


def test_long_documents_come_in_parts():
    parts = packing.pieces_of([[1, 2, 3, 4, 5], [], [6]], 2)
    assert [list(p.tokens) for p in parts] == [[1, 2], [3, 4], [5], [6]]
    for cut, some in ((packing.cut, np.arange(4)), (packing.pieces_of, [[1, 2]])):
        with pytest.raises(errors.ConfigError, match="length of a row must be above 0"):
            cut(some, 0)


def test_what_does_not_fit_is_refused():
    with pytest.raises(errors.DataError, match="item of 9 does not fit"):
        packing.best_fit([9], 8)
    with pytest.raises(errors.DataError, match="target begins at 5"):
        packing.pack([packing.Example([1, 2], 5)], 8)
    with pytest.raises(errors.ConfigError, match="did you mean 'best_fit'"):
        packing.pack([], 8, how="bestfit")
