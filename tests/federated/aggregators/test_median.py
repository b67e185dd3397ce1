import inspect

import jax.numpy as jnp
import pytest

from fl_jax.core import errors
from fl_jax.federated.aggregators import median
from fl_jax.federated.aggregators.base import Stacked


def test_trimming_half_or_more_is_refused():
    rule = median.trimmed_mean(trim=3)
    seen = Stacked({"w": jnp.zeros((6, 2))}, jnp.ones(6))
    with pytest.raises(errors.ConfigError, match=r"trim = 3 needs m >= 2 trim \+ 1 = 7 .* m = 6"):
        rule.update(seen, ())
    with pytest.raises(errors.ConfigError, match="must be a whole number of 0 or more, got -1"):
        median.trimmed_mean(trim=-1)
    with pytest.raises(errors.ConfigError, match=r"trim, .* must be a whole number .* got 0\.1"):
        # The paper's beta: it would trim one side alone. The tests' annotations are assertions.
        inspect.unwrap(median.trimmed_mean)(trim=0.1)


def test_the_median_of_none_is_zero():
    seen = Stacked({"w": jnp.zeros((4, 3))}, jnp.zeros(4))
    assert (median.median().update(seen, ())[0]["w"] == 0).all()
