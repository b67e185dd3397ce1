import numpy as np
import pytest

from fl_jax.core import errors
from privacy.leakage import split

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 3, 3000)
HOLDS = RNG.random(3000) < np.array([0.1, 0.2, 0.3])[LABELS]


def test_balancing_makes_property_and_label_independent():
    assert abs(split.correlation(LABELS, HOLDS)) > 0.1
    kept = split.balance(LABELS, HOLDS, seed=0)
    assert len(np.unique(kept)) == len(kept)
    assert abs(split.correlation(LABELS[kept], HOLDS[kept])) < 0.01
    shares = [HOLDS[kept][LABELS[kept] == c].mean() for c in range(3)]
    np.testing.assert_allclose(shares, shares[0], atol=0.01)
    assert np.sum(~HOLDS[kept]) == np.sum(~HOLDS)  # only property records are left out


def test_the_split_is_disjoint_and_as_the_authors_have_it():
    made = split.make(LABELS, HOLDS, 4, seed=3)
    pools = [made.victim_property, made.victim_rest, *made.shares]
    pools += [made.auxiliary_property, made.auxiliary_rest]
    everything = np.concatenate(pools)
    assert len(np.unique(everything)) == len(everything)
    assert HOLDS[made.victim_property].all()
    assert HOLDS[made.auxiliary_property].all()
    assert not any(HOLDS[pool].any() for pool in (made.victim_rest, *made.shares))
    assert len(made.victim_rest) == len(made.victim_property)  # share 0.5
    held = len(made.victim_property)
    owned = len(np.setdiff1d(made.auxiliary_property, made.evaluation))
    np.testing.assert_allclose(owned / (owned + held), 0.3, atol=0.01)
    np.testing.assert_allclose(len(made.evaluation) / 3000, 0.3, atol=0.01)
    for c in range(3):  # stratified
        np.testing.assert_allclose(
            np.mean(LABELS[made.evaluation] == c), np.mean(c == LABELS), atol=0.01
        )
    assert made.sizes().tolist() == [2 * held, *(len(s) for s in made.shares)]
    again = split.make(LABELS, HOLDS, 4, seed=3)
    np.testing.assert_array_equal(again.victim_property, made.victim_property)


def test_bad_input_is_one_sentence():
    with pytest.raises(errors.ConfigError, match="K >= 2 participants, got K = 1"):
        split.make(LABELS, HOLDS, 1, seed=0)
    for share in (0.0, 1.2):
        with pytest.raises(errors.ConfigError, match=r"share lies in \(0, 1\]"):
            split.make(LABELS, HOLDS, 2, seed=0, share=share)
    with pytest.raises(errors.ConfigError, match="do not serve"):
        split.make(LABELS, np.zeros(3000, bool), 2, seed=0)
    with pytest.raises(errors.DataError, match="no record with the property"):
        split.balance(LABELS, HOLDS & (LABELS > 0), seed=0)
    for holds in (HOLDS.astype(int), HOLDS[:-1]):
        with pytest.raises(errors.DataError, match="bool mask of the 3000 records"):
            split.make(LABELS, holds, 2, seed=0)
        with pytest.raises(errors.DataError, match="bool mask of the 3000 records"):
            split.balance(LABELS, holds, seed=0)


@pytest.mark.parametrize("part", [{"test": -0.5}, {"test": 1.5}, {"adversary": -0.5}])
def test_parts_that_are_none_are_refused(part):
    labels, holds = np.arange(40) % 2, np.arange(40) % 4 < 2
    with pytest.raises(errors.ConfigError, match="lies between 0 and 1"):
        split.make(labels, holds, 2, seed=0, **part)


def test_a_property_of_every_record_is_refused():
    """Nothing was left of the records, and nothing said."""
    with pytest.raises(errors.DataError, match="nothing to tell apart"):
        split.balance(np.arange(8) % 2, np.ones(8, bool), seed=0)


def test_lists_serve_as_arrays():
    labels, holds = np.arange(40) % 2, np.arange(40) % 4 < 2
    like = split.make(labels, holds, 2, seed=0)
    found = split.make.__wrapped__(labels.tolist(), holds.tolist(), 2, seed=0)
    np.testing.assert_array_equal(found.victim_property, like.victim_property)
