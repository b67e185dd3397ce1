import pytest

from fl_jax.core import errors
from fl_jax.federated.aggregators import robust_rate


def test_a_threshold_that_is_none_is_refused():
    with pytest.raises(errors.ConfigError, match=r"threshold .* must be above 0"):
        robust_rate.robust_rate(threshold=0)
