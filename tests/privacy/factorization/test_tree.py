import numpy as np
import pytest

from privacy.factorization import tree
from tests.privacy.factorization import brute


@pytest.mark.parametrize("rounds", [1, 2, 7, 8, 13])
def test_a_prefix_is_the_sum_of_as_many_nodes_as_its_length_has_bits(rounds):
    b = np.cumsum(np.linalg.inv(tree.factor(rounds)), axis=0)
    assert set(np.unique(np.round(b, 9))) <= {0.0, 1.0}
    bits = [t.bit_count() for t in range(1, rounds + 1)]
    np.testing.assert_allclose(b.sum(1), bits)
    alone = np.sqrt(np.sum(b**2) / rounds) * tree.sensitivity(rounds, rounds)
    assert tree.rmse(rounds, rounds) == pytest.approx(alone, rel=1e-9)


def whole(rounds):
    """Every node that is complete: (its last round, which rounds it adds up)."""
    for size in 2 ** np.arange(rounds.bit_length()):
        for end in range(size, rounds + 1, size):
            yield end, (np.arange(rounds) < end) & (np.arange(rounds) >= end - size)


@pytest.mark.parametrize("rounds", [1, 2, 7, 8, 13])
def test_refined_prefixes_are_the_best_there_are_of_the_nodes_so_far(rounds):
    """Generalised least squares over what has been released."""
    variance = []
    for t in range(1, rounds + 1):
        nodes = np.array([row[:t] for end, row in whole(rounds) if end <= t], float)
        variance.append(np.linalg.inv(nodes.T @ nodes).sum())
    alone = np.sqrt(np.mean(variance)) * tree.sensitivity(rounds, rounds, refined=True)
    assert tree.rmse(rounds, rounds, refined=True) == pytest.approx(alone, rel=1e-9)


@pytest.mark.parametrize("refined", [False, True])
@pytest.mark.parametrize("rounds", [1, 5, 8, 11])
@pytest.mark.parametrize("separation", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("most", [None, 1, 2])
def test_no_schedule_is_worse_than_the_bound(rounds, separation, most, refined):
    nodes = np.array([row for _, row in whole(rounds)], float) if refined else tree.factor(rounds)
    worst = brute.sensitivity(nodes, separation, most)
    bound = tree.sensitivity(rounds, separation, most, refined=refined)
    assert worst <= bound
    powers = rounds & (rounds - 1) == separation & (separation - 1) == 0
    if most == 1 or (powers and most is None):
        assert bound == pytest.approx(worst, rel=1e-6)
    assert bound < 1.5 * worst
