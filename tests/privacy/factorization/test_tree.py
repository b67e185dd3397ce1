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


@pytest.mark.parametrize("rounds", [1, 5, 8, 11])
@pytest.mark.parametrize("separation", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("most", [None, 1, 2])
def test_no_schedule_is_worse_than_the_bound(rounds, separation, most):
    worst = brute.sensitivity(tree.factor(rounds), separation, most)
    bound = tree.sensitivity(rounds, separation, most)
    assert worst <= bound
    powers = rounds & (rounds - 1) == separation & (separation - 1) == 0
    if most == 1 or (powers and most is None):
        assert bound == pytest.approx(worst, rel=1e-9)
    assert bound < 1.5 * worst
