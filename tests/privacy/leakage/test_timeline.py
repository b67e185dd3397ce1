import numpy as np
import pytest

from fl_jax.core import errors
from privacy.leakage import timeline


def brute(scores, least=2):
    """Every window's least squares, written plainly."""
    n, best, found = len(scores), np.inf, None
    for first in range(n):
        for last in range(first + least, n + 1):
            inside = scores[first:last]
            outside = np.append(scores[:first], scores[last:])
            if len(outside) < least or inside.mean() <= outside.mean():
                continue
            error = inside.var() * len(inside) + outside.var() * len(outside)
            if error < best - 1e-12:
                best, found = error, (first, last)
    return found, 1 - best / (scores.var() * n)


def test_the_window_is_that_of_the_plain_search():
    rng = np.random.default_rng(0)
    for _ in range(10):
        scores = rng.normal(size=25)
        found = timeline.locate(scores)
        (first, last), explained = brute(scores)
        assert (found.first, found.last) == (first, last)
        np.testing.assert_allclose(found.explained, explained)


def test_a_property_that_comes_and_goes_is_found():
    rng = np.random.default_rng(1)
    truth = (np.arange(200) >= 70) & (np.arange(200) < 130)
    found = timeline.locate(truth + rng.normal(0, 0.3, 200))
    assert abs(found.first - 70) <= 3
    assert abs(found.last - 130) <= 3
    assert 0.8 < found.contrast < 1.2
    stays = timeline.locate((np.arange(200) >= 70) + rng.normal(0, 0.3, 200))
    assert abs(stays.first - 70) <= 3
    assert stays.last >= 197


def test_no_window_without_contrast():
    with pytest.raises(errors.DataError, match="all equal"):
        timeline.locate(np.ones(10))
    with pytest.raises(errors.DataError, match="4 and more finite scores"):
        timeline.locate(np.ones(3))


def test_a_window_has_a_round():
    with pytest.raises(errors.ConfigError, match="least must be a whole number"):
        timeline.locate(np.arange(6.0), least=0)
