import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.federated.aggregators import geometric_median
from fl_jax.federated.aggregators.base import Stacked


def test_converged_it_minimises_the_sum_of_distances():
    x = np.random.default_rng(2).normal(size=(9, 4)).astype(np.float32)
    rule = geometric_median.geometric_median(iterations=200, start="median", weight="uniform")
    v = np.asarray(rule.update(Stacked({"w": jnp.asarray(x)}, jnp.ones(9)), ())[0]["w"])
    cost = lambda v: np.linalg.norm(x - v, axis=1).sum()
    for step in np.random.default_rng(1).normal(size=(200, 4)):
        assert cost(v) <= cost(v + 0.05 * step / np.linalg.norm(step)) + 1e-6


def test_bad_settings_are_refused():
    with pytest.raises(errors.ConfigError, match="unknown start 'zero'"):
        geometric_median.geometric_median(start="zero")
    with pytest.raises(errors.ConfigError, match="iterations must be a whole number of 1 or more"):
        geometric_median.geometric_median(iterations=0)
