import pytest

from fl_jax.core import errors
from fl_jax.federated.aggregators import mean


def test_bad_settings_are_refused():
    with pytest.raises(errors.ConfigError, match="eta must be above 0, got 0"):
        mean.fedavg(eta=0, participants=10)
    with pytest.raises(errors.ConfigError, match="unknown weight 'size'"):
        mean.mean(weight="size")
