import numpy as np
import pytest

from privacy.accounting.errors import PrivacyError
from privacy.factorization import banded, toeplitz, workload


@pytest.mark.parametrize("bands", [1, 3, 6])
def test_free_bands_have_columns_of_length_one_and_beat_toeplitz(bands):
    of = np.ones(24)
    found = banded.optimise(of, bands)
    np.testing.assert_allclose(np.linalg.norm(found, axis=0), 1, rtol=1e-6)
    np.testing.assert_array_equal(found, found.astype(np.float32))
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


def test_all_bands_and_one_participation_are_near_the_best_there_is():
    """(sum of the root's singular values)^2 / n bounds every factor from below: ||A||_* / sqrt(n)
    [Li et al. 2015, the singular value bound]."""
    n = 16
    least = np.linalg.svd(np.tril(np.ones((n, n))), compute_uv=False).sum() / n
    found = banded.rmse(np.ones(n), banded.optimise(np.ones(n), n), n)
    assert least <= found < 1.1 * least


def test_entries_outside_of_the_bands_are_refused():
    with pytest.raises(PrivacyError, match="entries outside of 2 bands"):
        banded.rows(np.tril(np.ones((3, 3))), 2)
