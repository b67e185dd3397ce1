import dataclasses

import pytest

from experiments.backdoor import grid as grids
from experiments.backdoor.grid_config import SMOKE_GRID
from fl_jax.core import errors


def test_a_data_set_without_a_grid_is_refused():
    config = dataclasses.replace(SMOKE_GRID.config, dataset="cifar10")
    with pytest.raises(errors.ConfigError, match="the grid runs on digits or mnist"):
        grids.run(dataclasses.replace(SMOKE_GRID, config=config), None, None)
