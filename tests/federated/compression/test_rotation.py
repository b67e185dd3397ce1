"""Rotations by the matrix, DRIVE by its formula, EDEN by the distortion of its grid."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import linalg

from fl_jax.core import errors, rng
from fl_jax.federated.compression import base, quantise, rotation

X = np.random.default_rng(1).normal(size=100).astype(np.float32) ** 3  # far from Gaussian


def test_a_rotation_is_signs_and_the_hadamard_matrix(key):
    words = np.asarray(jax.random.bits(key, (4, 1), jnp.uint32)).reshape(4)
    signs = np.array([1 - 2 * (int(word) >> bit & 1) for word in words for bit in range(32)])
    assert 40 < np.sum(signs > 0) < 88
    long = np.concatenate([X, np.zeros(28, np.float32)])
    expected = linalg.hadamard(128) @ (signs * long) / np.sqrt(128)
    turned = rotation.rotate(jnp.asarray(X), key)
    np.testing.assert_allclose(turned, expected, atol=2e-5)
    np.testing.assert_allclose(rotation.back(turned, key, 100), X, atol=2e-5)


@pytest.mark.parametrize(("d", "whole"), [(1, 1), (2, 2), (3, 4), (64, 64), (65, 128)])
def test_vectors_are_padded_to_a_power_of_two(d, whole, key):
    assert rotation.padded(d) == whole
    x = jnp.arange(1.0, d + 1)
    np.testing.assert_allclose(
        rotation.back(rotation.rotate(x, key), key, d), x, rtol=1e-5, atol=1e-5
    )
    assert rotation.rotated(quantise.uniform(2)).bits(d) == whole + 64
    assert rotation.eden(3).bits(d) == min(3 * max(whole, 32) + 32, 32 * d)


def test_the_best_points_for_gaussian_noise():
    """Max 1960, table I: points and distortions of 1, 2 and 3 bits."""
    np.testing.assert_allclose(rotation.centroids(2)[2:], [0.4528, 1.510], atol=5e-4)
    np.testing.assert_allclose(rotation.centroids(3)[4:], [0.2451, 0.7560, 1.344, 2.152], atol=5e-4)
    x = np.linspace(-9, 9, 200_001)
    density = np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    for bits, expected in ((1, 0.3634), (2, 0.1175), (3, 0.03454)):
        points = rotation.centroids(bits)
        nearest = np.abs(x[:, None] - points).min(axis=1)
        assert np.trapezoid(nearest**2 * density, x) == pytest.approx(expected, rel=1e-3)


def test_one_bit_is_drive(key):
    first, second = rng.fold(key, "first"), rng.fold(key, "second")
    turned = rotation.rotate(rotation.rotate(jnp.asarray(X), first), second)
    turned = np.asarray(turned, np.float64)
    scale = np.sum(X.astype(np.float64) ** 2) / np.abs(turned).sum()
    told = jnp.asarray(scale * np.sign(turned), jnp.float32)
    expected = rotation.back(rotation.back(told, second, 128), first, 100)
    np.testing.assert_allclose(rotation.eden(1).read(jnp.asarray(X), key), expected, atol=2e-4)


@pytest.mark.parametrize(("bits", "error"), [(1, 0.571), (2, 0.133), (3, 0.0358), (4, 0.0096)])
def test_edens_error_does_not_depend_on_the_vector_and_averages_out(bits, error, key):
    """D / (1 - D) of the vector's square, D being the distortion of the grid."""
    spike = np.eye(1, 1024, 3, dtype=np.float32)[0] * 5 + np.float32(0.01)
    for x in (np.resize(X, 1024) * (1 + np.arange(1024, dtype=np.float32)), spike, X):
        read = jax.jit(jax.vmap(lambda k, x=x: rotation.eden(bits).read(jnp.asarray(x), k)))
        found = np.asarray(read(jax.random.split(key, 1500)), np.float64)
        each = np.sum((found - x) ** 2, axis=1) / np.sum(x**2)
        mean = np.sum((found.mean(axis=0) - x) ** 2) / np.sum(x**2)
        assert mean < 3 * each.mean() / len(found) + 2e-4
        assert each.mean() < 1.03 * error
        if x.size == 1024:
            assert each.mean() == pytest.approx(error, rel=0.06)


@pytest.mark.parametrize("x", [[5.0], [1.0, 0.1], [0.1, 1.1, 0.1], [3.0, -1, 0, 0, 0.2], X[:10]])
def test_few_numbers_have_little_bias(x, key):
    """Two numbers were read as the same two in every draw: all of the error was bias."""
    x = np.asarray(x, np.float32)
    read = jax.jit(jax.vmap(lambda k: rotation.eden(1).read(jnp.asarray(x), k)))
    found = np.asarray(read(jax.random.split(key, 4000)), np.float64)
    if x.size <= 2:
        np.testing.assert_array_equal(found, np.broadcast_to(x, found.shape))
    each = np.sum((found - x) ** 2, axis=1) / np.sum(x**2)
    bias = np.sum((found.mean(axis=0) - x) ** 2) / np.sum(x**2)
    assert bias < 3 * each.mean() / len(found) + 0.01
    assert each.mean() < 0.3


def test_a_rotation_spreads_what_one_number_had(key):
    """A single large number makes uniform quantisation bad, and rotated not."""
    noise = jax.random.normal(key, (256,)).at[7].set(100.0)
    plain, turned = (
        float(jnp.sum((code.read(noise, key) - noise) ** 2))
        for code in (quantise.uniform(4), rotation.rotated(quantise.uniform(4)))
    )
    assert turned < plain / 3


def test_rotated_codes_have_a_key_for_the_turn_and_one_for_the_draw(key):
    code = rotation.rotated(quantise.uniform(8))
    turn, draw = rng.fold(key, "rotation"), rng.fold(key, "code")
    by_hand = quantise.uniform(8).read(rotation.rotate(jnp.asarray(X), turn), draw)
    np.testing.assert_allclose(
        code.read(jnp.asarray(X), key), rotation.back(by_hand, turn, 100), rtol=1e-6, atol=1e-6
    )
    np.testing.assert_allclose(
        rotation.rotated(base.whole()).read(jnp.asarray(X), key), X, atol=2e-5
    )


@pytest.mark.parametrize("bits", [1, 4])
@pytest.mark.parametrize("scale", [0.0, 2.0**-90, 2.0**70])
def test_no_scale_is_too_small_or_large(bits, scale, key):
    found = rotation.eden(bits).read(jnp.asarray(X) * jnp.float32(scale), key)
    expected = np.asarray(rotation.eden(bits).read(jnp.asarray(X), key)) * np.float32(scale)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6 * scale)


@pytest.mark.parametrize(("bits", "said"), [(0, "whole number of 1 or more"), (9, "1 to 8")])
def test_bits_that_are_not_there_are_refused(bits, said):
    with pytest.raises(errors.ConfigError, match=said):
        rotation.eden(bits)
