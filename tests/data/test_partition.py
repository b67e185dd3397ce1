import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.data import partition

LABELS = np.random.default_rng(0).integers(0, 10, 3000)


def by_hand(labels, participants, alpha, seed):
    """The rule of the spec, written as its code does it: take from the front of a list."""
    rng = np.random.default_rng(seed)
    classes = [list(np.flatnonzero(labels == c)) for c in np.unique(labels)]
    size = len(classes[0])
    shares = [[] for _ in range(participants)]
    for members in classes:
        left = [members[i] for i in rng.permutation(len(members))]
        p = size * rng.dirichlet(np.array(participants * [alpha]))
        for i in range(participants):
            count = min(len(left), round(p[i]))
            shares[i] += left[:count]
            left = left[count:]
    return [sorted(int(x) for x in share) for share in shares]


@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_rule_of_the_repository(seed):
    got = partition.dirichlet(LABELS, 100, alpha=0.9, seed=seed, original=True)
    # numpy permutes an array and its positions alike, so the two agree index by index
    assert [share.tolist() for share in got] == by_hand(LABELS, 100, 0.9, seed)


def test_every_example_has_one_owner():
    labels = np.repeat([0, 1, 2], [10, 1000, 1000])
    for original in (False, True):
        everything = np.concatenate(partition.dirichlet(labels, 50, seed=1, original=original))
        assert len(np.unique(everything)) == len(everything)
        if original:
            assert len(everything) < 100  # class 0 decides: part of the rule
        else:
            assert len(everything) == len(labels)


def test_a_small_alpha_is_less_even():
    spread = [
        np.std([len(s) for s in partition.dirichlet(LABELS, 50, alpha=a)])
        for a in (0.05, 0.9, 100.0)
    ]
    assert spread[0] > 2 * spread[1] > 4 * spread[2]


def test_iid_shares_are_equal():
    shares = partition.iid(103, 10, seed=3)
    assert sorted(len(s) for s in shares) == [10] * 7 + [11] * 3
    assert sorted(np.concatenate(shares).tolist()) == list(range(103))


def test_shards_are_of_few_classes():
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(10), 60))
    shares = partition.shards(labels, 100, seed=4)
    assert {len(share) for share in shares} == {6}
    assert sorted(np.concatenate(shares).tolist()) == list(range(600))
    kinds = [len(np.unique(labels[share])) for share in shares]
    assert max(kinds) == 2
    assert kinds != [len(np.unique(labels[share])) for share in partition.shards(labels, 100)]


def test_more_shards_than_examples_are_refused():
    with pytest.raises(errors.ConfigError, match="need 6 examples or more, got 5"):
        partition.shards(np.zeros(5, int), 3)


def test_shares_by_owner():
    owners = np.array(["mercutio", "juliet", "nurse", "juliet", "mercutio", "juliet"])
    shares = partition.by_owner(owners)
    assert [share.tolist() for share in shares] == [[1, 3, 5], [0, 4], [2]]
    assert [share.tolist() for share in partition.by_owner(np.array([7, 7]))] == [[0, 1]]


@pytest.mark.parametrize(
    ("call", "said"),
    [({"alpha": 0.0}, "alpha must be above 0"), ({"participants": 0}, "whole number of 1 or more")],
)
def test_impossible_splits_are_refused(call, said):
    with pytest.raises(errors.ConfigError, match=said):
        partition.dirichlet(LABELS, **({"participants": 5} | call))


def test_an_infinite_alpha_is_refused():
    with pytest.raises(errors.ConfigError, match="alpha of a Dirichlet split must be finite"):
        partition.dirichlet(LABELS, 5, alpha=np.inf)
    with pytest.raises(errors.ConfigError, match="examples must be a whole number of 1 or more"):
        partition.iid(-3, 2)


@pytest.mark.parametrize("split", [partition.dirichlet, partition.shards])
@pytest.mark.parametrize(
    ("labels", "said"), [(np.array([0, np.nan, 1, np.nan]), "NaN"), (np.eye(4), "2 axes")]
)
def test_labels_that_are_not_one_class_each_are_refused(split, labels, said):
    """NaN equals nothing: those examples would be nobody's."""
    with pytest.raises(errors.DataError, match=said):
        split(labels, 2)


def test_owners_are_one_for_each_example():
    with pytest.raises(errors.DataError, match="got 2 axes"):
        partition.by_owner(np.array([["a", "b"], ["a", "c"]]))
