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
    got = partition.dirichlet(LABELS, 100, alpha=0.9, seed=seed)
    # numpy permutes an array and its positions alike, so the two agree index by index
    assert [share.tolist() for share in got] == by_hand(LABELS, 100, 0.9, seed)


def test_shares_are_disjoint_and_the_exact_split_uses_everything():
    for exact in (False, True):
        shares = partition.dirichlet(LABELS, 50, seed=1, exact=exact)
        everything = np.concatenate(shares)
        assert len(np.unique(everything)) == len(everything)
        if exact:
            assert len(everything) == len(LABELS)
        else:
            assert len(everything) < len(LABELS)  # rounding leaves some: part of the rule


def test_a_small_alpha_is_less_even():
    spread = [
        np.std([len(s) for s in partition.dirichlet(LABELS, 50, alpha=a, exact=True)])
        for a in (0.05, 0.9, 100.0)
    ]
    assert spread[0] > 2 * spread[1] > 4 * spread[2]


def test_iid_shares_are_equal():
    shares = partition.iid(103, 10, seed=3)
    assert sorted(len(s) for s in shares) == [10] * 7 + [11] * 3
    assert sorted(np.concatenate(shares).tolist()) == list(range(103))


@pytest.mark.parametrize("call", [{"alpha": 0.0}, {"participants": 0}])
def test_impossible_splits_are_refused(call):
    with pytest.raises(errors.ConfigError, match="must be above 0"):
        partition.dirichlet(LABELS, **({"participants": 5} | call))
