import numpy as np
import pytest
from scipy import linalg

from privacy.accounting.errors import PrivacyError
from privacy.factorization import banded, toeplitz, workload


@pytest.mark.parametrize("bands", [1, 3, 6])
def test_free_bands_have_columns_of_length_one_and_beat_toeplitz(bands):
    of = np.ones(24)
    found = banded.optimise(of, bands)
    np.testing.assert_allclose(np.linalg.norm(found, axis=0), 1, rtol=1e-6)
    best = banded.rmse(of, found, 6)
    assert best <= toeplitz.rmse(of, toeplitz.optimise(of, bands, 6), 6) * (1 + 1e-7)
    rebuilt = np.zeros_like(found)
    for k, column in enumerate(banded.rows(found, bands).T):
        rebuilt += np.diag(column[k:], -k)
    np.testing.assert_array_equal(rebuilt, found)


def test_the_error_is_that_of_the_matrices():
    of, c = workload.scheduled(np.linspace(1, 0.1, 9)), banded.optimise(np.ones(9), 3)
    want = np.sqrt(np.sum((of @ np.linalg.inv(c)) ** 2) / 9) * np.sqrt(3)
    assert banded.rmse(of, c, 3) == pytest.approx(want, rel=1e-6)


def best(a):
    """Least ||A C^-1||_F^2 of any C whose columns have length 1: by the fixed point of its dual
    v = diag((D A'A D)^(1/2)), D = diag(v)^(1/2), where it is the sum of v [Denisov et al. 2022]."""
    v = np.ones(a.shape[0])
    for _ in range(200):
        root = np.sqrt(v)
        v = np.diagonal(linalg.sqrtm(root[:, None] * (a.T @ a) * root)).real
    return v.sum()


@pytest.mark.parametrize("of", [np.ones(16), workload.momentum(16, 0.9)])
def test_with_all_bands_it_is_the_best_factor_there_is(of):
    least = np.sqrt(best(workload.matrix(of)) / 16)
    assert least * (1 - 1e-6) < banded.rmse(of, banded.optimise(of, 16), 16) < least * (1 + 1e-4)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: banded.rows(np.tril(np.ones((3, 3))), 2), "at most 2 bands"),
        (lambda: banded.rows(np.ones((3, 2)), 2), "finite square matrix"),
        (lambda: banded.rmse(np.ones(4), np.eye(3), 2), "for 3 rounds, but the workload has 4"),
        (lambda: banded.rmse(np.ones(3), np.zeros((3, 3)), 2), "has no inverse"),
        (lambda: banded.optimise(np.ones(3), 4), "at most as many bands as rounds, 3"),
    ],
)
def test_bad_factors_are_refused(call, said):
    with pytest.raises(PrivacyError, match=said):
        call()
