"""ALiBi's slopes and columns, and positions under a mask."""

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.nn import position


def test_slopes_of_powers_of_two_and_others():
    four = [0.25, 0.0625, 0.015625, 0.00390625]
    np.testing.assert_array_equal(position.alibi_slopes(4), np.float32(four))
    np.testing.assert_array_equal(position.alibi_slopes(6), np.float32([*four, 0.5, 0.125]))
    twelve = position.alibi_slopes(12)
    assert twelve[0] == 0.5
    np.testing.assert_allclose(
        twelve[-4:], [0.70710678, 0.35355338, 0.17677668, 0.08838834], rtol=1e-7
    )
    many = position.alibi_slopes(112)
    np.testing.assert_allclose(many[:3], [0.91700405, 0.84089643, 0.77110541], rtol=1e-7)
    np.testing.assert_allclose(many[-3:], [0.01940402, 0.01779356, 0.01631677], rtol=1e-6)
    assert many.sum(dtype=np.float64) == pytest.approx(22.36328888, rel=1e-7)
    assert position.alibi_slopes(32)[[0, -1]] == pytest.approx([0.84089643, 0.00390625])
    with pytest.raises(errors.ConfigError):
        position.alibi_slopes(0)


def test_positions_skip_padding_and_holes():
    mask = jnp.array([[0, 0, 1, 1, 1], [1, 1, 0, 1, 0]])
    np.testing.assert_array_equal(position.positions(mask), [[0, 0, 0, 1, 2], [0, 1, 0, 2, 0]])


@pytest.mark.parametrize(("heads", "width"), [(16, 64), (32, 80), (16, 96), (32, 128), (112, 128)])
def test_folded_columns_are_exact_in_bfloat16(heads, width):
    """Their product gives slope * position to 1e-4 at 2,048 tokens, at every published shape."""
    slopes, scale = position.alibi_slopes(heads), width**-0.5
    where = jnp.arange(2048)[None] - 2047
    queries, keys = position.fold_alibi(slopes, scale, where)
    for columns in (queries, keys):
        rounded = np.asarray(columns).astype(ml_dtypes.bfloat16).astype(np.float32)
        np.testing.assert_array_equal(columns, rounded)
    scores = scale * np.asarray(queries, np.float64) @ np.asarray(keys[0], np.float64).T
    wanted = slopes.astype(np.float64)[:, None] * np.asarray(where, np.float64)
    np.testing.assert_allclose(scores, wanted, atol=1e-4, rtol=0)


def test_folded_keys_are_exact_up_to_the_longest():
    _, keys = position.fold_alibi(
        position.alibi_slopes(2), 1.0, jnp.arange(-position.LONGEST - 1, 0)[None]
    )
    rounded = np.asarray(keys).astype(ml_dtypes.bfloat16).astype(np.float32)
    same = (np.asarray(keys) == rounded).all(-1)[0]
    assert same[1:].all() and not same[0]
