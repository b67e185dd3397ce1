"""Relative buckets: the table read off transformers 5.23.0 at 32 buckets, distance 128."""

import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.t5 import position
from fl_jax.t5.config import Config


@pytest.mark.parametrize(
    ("relative", "bucket"),
    [(0, 0), (-7, 7), (-8, 8), (-11, 8), (-12, 9), (-15, 9), (-16, 10), (-22, 10), (-23, 11),
     (-31, 11), (-32, 12), (-45, 12), (-46, 13), (-63, 13), (-64, 14), (-90, 14), (-91, 15),
     (-5000, 15), (1, 17), (7, 23), (8, 24), (12, 25), (16, 26), (23, 27), (32, 28), (46, 29),
     (64, 30), (90, 30), (91, 31)],
)  # fmt: skip
def test_encoder(relative, bucket):
    assert position.buckets(np.array(relative), bidirectional=True) == bucket


def test_decoder():
    starts = [16, 19, 21, 24, 27, 31, 35, 40, 46, 52, 59, 67, 77, 87, 99, 113]
    found = position.buckets(-np.arange(200), bidirectional=False)
    assert found[:16].tolist() == list(range(16))
    first = [int(np.flatnonzero(found == b)[0]) for b in range(16, 32)]
    assert first == starts
    assert position.buckets(np.arange(1, 9), bidirectional=False).tolist() == [0] * 8


@pytest.mark.parametrize("max_distance", [1, 7, 8])
def test_a_last_bucket_that_begins_before_the_exact_ones_end(max_distance):
    """Its logarithm is 0 or negative: buckets below 0, which no table has."""
    with pytest.raises(errors.ConfigError, match="max_distance must be above 8"):
        position.buckets(np.arange(-9, 9), bidirectional=True, max_distance=max_distance)
    with pytest.raises(errors.ConfigError, match="max_distance must be above 16"):
        Config(max_distance=max_distance)
