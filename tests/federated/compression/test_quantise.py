"""Quantisation: neighbours on the grid, no bias, the papers' bounds of the variance."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.federated.compression import quantise

CODES = {
    "uniform 2": quantise.uniform(2),
    "uniform 16": quantise.uniform(16),
    "qsgd 1": quantise.qsgd(1),
    "qsgd 4": quantise.qsgd(4),
    "terngrad": quantise.qsgd(1, norm="max"),
}
X = np.random.default_rng(0).normal(size=50).astype(np.float32) * 3


def draws(code, x, key, count=4000):
    read = jax.vmap(lambda k: code.read(jnp.asarray(x), k))
    return np.asarray(read(jax.random.split(key, count)), np.float64)


def neighbours(name, x):
    """The grid points beside each number, (2, d), by NumPy."""
    if name.startswith("uniform"):
        step = (x.max() - x.min()) / (int(name.split()[1]) - 1)
        low = x.min() + np.floor((x - x.min()) / step) * step
        return np.stack([low, np.minimum(low + step, x.max())])
    levels = 1 if name == "terngrad" else int(name.split()[1])
    over = np.abs(x).max() if name == "terngrad" else np.linalg.norm(x)
    low = np.floor(np.abs(x) / over * levels)
    return np.stack([low, low + 1]) * over / levels * np.sign(x)


@pytest.mark.parametrize("name", CODES)
def test_numbers_go_to_one_of_their_neighbours_without_bias(name, key):
    found, (a, b) = draws(CODES[name], X, key), neighbours(name, X.astype(np.float64))
    close = np.minimum(np.abs(found - a), np.abs(found - b))
    assert close.max() < 1e-5 * np.abs(X).max()
    # Of two values, a with probability 1 - p and b with p: mean and variance are known.
    p = np.where(a == b, 0, (X - a) / np.where(a == b, 1, b - a))
    deviation = np.abs(b - a) * np.sqrt(np.clip(p * (1 - p), 0, None) / len(found))
    assert np.all(np.abs(found.mean(axis=0) - X) <= 4.5 * deviation + 1e-5)


def test_the_variance_is_within_the_papers_bounds(key):
    d, square = X.size, np.sum(X**2)
    error = lambda code: np.mean(np.sum((draws(code, X, key) - X) ** 2, axis=1))
    for levels in (1, 4, 64):
        bound = min(d / levels**2, d**0.5 / levels) * square
        assert 0 < error(quantise.qsgd(levels)) <= 1.02 * bound
    for levels in (2, 16):
        step = (X.max() - X.min()) / (levels - 1)
        assert 0 < error(quantise.uniform(levels)) <= d * step**2 / 4


@pytest.mark.parametrize("name", CODES)
@pytest.mark.parametrize("scale", [2.0**-100, 1.0, 2.0**56])
def test_any_scale_is_quantised_alike(name, scale, key):
    x = np.array([1.0, -0.5, 0.25, 0.0], np.float32)
    one, other = (CODES[name].read(jnp.asarray(v), key) for v in (x, x * np.float32(scale)))
    np.testing.assert_allclose(other, np.asarray(one) * np.float32(scale), rtol=1e-5)


@pytest.mark.parametrize("name", CODES)
def test_vectors_without_spread_arrive_whole(name, key):
    np.testing.assert_array_equal(CODES[name].read(jnp.zeros(3), key), np.zeros(3))
    if not name.startswith("qsgd"):
        same = CODES[name].read(jnp.full(5, -2.5), key)
        np.testing.assert_array_equal(same, np.full(5, np.float32(-2.5)))
    np.testing.assert_allclose(CODES[name].read(jnp.asarray([7.0]), key), [7.0], rtol=1e-6)


def test_bits_by_hand():
    assert quantise.uniform(2).bits(100) == 100 + 64
    assert quantise.uniform(5).bits(100) == 300 + 64
    assert quantise.qsgd(1).bits(100) == 200 + 32  # -1, 0, 1
    assert quantise.qsgd(4).bits(100) == 400 + 32  # nine values


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: quantise.uniform(1), "levels must be a whole number of 2 or more, got 1"),
        (lambda: quantise.qsgd(0), "levels must be a whole number of 1 or more, got 0"),
        (lambda: quantise.qsgd(2, norm="l3"), "unknown norm 'l3'"),
    ],
)
def test_what_is_no_grid_is_refused(make, said):
    with pytest.raises(errors.ConfigError, match=said):
        make()
