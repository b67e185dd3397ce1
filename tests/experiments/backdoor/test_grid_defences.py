import dataclasses

import jax
import jax.numpy as jnp
import pytest

from experiments.backdoor import grid_defences
from experiments.backdoor import task as tasks
from experiments.backdoor.grid_config import SMOKE_GRID
from fl_jax.core import errors
from fl_jax.train.state import Variables


def test_snowball_sees_the_first_and_the_last_layer():
    task = tasks.make(SMOKE_GRID.config)
    first, last = grid_defences.ends(Variables(*task.network.init(jax.random.key(0))))
    assert first["kernel"].shape[:3] == (3, 3, 1)
    assert last["kernel"].shape[1] == 10


def test_the_defences_asked_for_in_the_order_of_the_table():
    task = tasks.make(SMOKE_GRID.config)
    models = Variables({"w": jnp.ones((2, 5))}, {})
    of = lambda *names: grid_defences.chosen(
        dataclasses.replace(SMOKE_GRID, defences=names), task, 1.0, models
    )
    assert list(of("Krum", "mean")) == ["mean", "Krum"]
    assert list(of()) == list(grid_defences.rules(SMOKE_GRID, task, 1.0, 5, 1.0))
    with pytest.raises(errors.ConfigError, match="unknown defence 'Crum'; did you mean 'Krum'"):
        of("Crum")
