import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
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
    grid_defences.check(dataclasses.replace(SMOKE_GRID, defences=("Krum",)), task)
    with pytest.raises(errors.ConfigError, match="unknown defence 'Crum'"):  # before training
        grid_defences.check(dataclasses.replace(SMOKE_GRID, defences=("Crum",)), task)


def test_the_indicator_plants_crops_in_the_scale_of_the_network(monkeypatch):
    given = {}
    monkeypatch.setattr(grid_defences.indicator, "indicator", lambda **kept: given.update(kept))
    task = tasks.make(SMOKE_GRID.config)
    grid_defences.planted(SMOKE_GRID, task)
    _, mean, deviation = tasks.SCALES["digits"]
    grey = np.asarray(given["images"]) * deviation[0] + mean[0]
    assert grey.shape == (SMOKE_GRID.planted, 8, 8, 1)
    np.testing.assert_allclose([grey.min(), grey.max()], [0, 1], atol=1e-6)
    np.testing.assert_array_equal(
        np.bincount(given["labels"]), np.full(10, SMOKE_GRID.planted // 10)
    )
    # Black and white are a digit's darkest and brightest pixel: the loss of the task sees them so.
    ends = np.zeros((1, 8, 8, 1), np.uint8)
    ends[0, 0] = 16
    variables = Variables(*task.network.init(jax.random.key(0)))
    batch = {"x": jnp.asarray(ends), "y": jnp.zeros(1, jnp.int32)}
    seen = {**batch, "x": jnp.asarray(grid_defences.as_seen(SMOKE_GRID, ends / np.float32(16)))}
    ours, _ = given["loss"](variables, {**seen, "mask": jnp.ones(1)}, jax.random.key(0))
    usual, _ = task.test_loss(variables, batch, jax.random.key(0))
    np.testing.assert_allclose(ours, usual, rtol=1e-5)
    logits = given["apply"](variables, seen["x"])
    np.testing.assert_allclose(-jax.nn.log_softmax(logits)[0, 0], usual, rtol=1e-5)
