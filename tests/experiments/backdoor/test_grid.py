import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.backdoor import grid as grids
from experiments.backdoor import task as tasks
from fl_jax.core import errors
from fl_jax.train.state import Variables

GRID = dataclasses.replace(grids.SMOKE_GRID, examples=16)


def test_every_attack_has_a_program_and_its_data():
    task = tasks.make(GRID.config)
    chosen = grids.rules(GRID, task, 1.0, 100, 10.0)
    kinds = grids.programs(GRID, task, chosen["median"])
    assert {grids.program_of(attack) for attack in grids.ATTACKS} == set(kinds)
    keys = jnp.stack([jax.random.key(s) for s in range(2)])
    trigger = jnp.zeros((2, 8, 8, 1)).at[1, 1:6, 5:8].set(1.0)
    generator = jax.vmap(grids.trigger_of(GRID, task).generator.init)(keys)[0]
    material = grids.Material(Variables({}, {}), keys, trigger, generator)
    poisons, tests = grids.settings(GRID, task, 1.0, material)
    assert poisons["whole"].gamma.shape == (len(grids.ATTACKS), 2)
    assert poisons["parts"].gamma.shape == (len(grids.ATTACKS), 2, GRID.attackers)
    a3fl = grids.ATTACKS.index("A3FL")
    assert (np.asarray(tests["x"][a3fl, 0])[:, 1:6, 5:8] == 0).all()  # its own trigger, per seed
    assert (np.asarray(tests["x"][a3fl, 1])[:, 1:6, 5:8] == 16).all()
    own = np.asarray(tests["x"][grids.ATTACKS.index("IBA")])
    plain = task.backdoors["pixel pattern"].plain_test.astype(np.float32)
    assert np.abs(own - plain[None]).max() <= 0.06 * 16 + 1e-5  # a bounded trigger, per seed
    assert (own[0] != own[1]).any()
    parts = [own({"whole": 1, "parts": 2, "generator": 3}) for own in grids.data_of(kinds)]
    assert parts[list(kinds).index("DBA")] == 2
    assert parts[list(kinds).index("IBA")] == (1, 3)
    assert parts[list(kinds).index("ALIE")] == ()


def test_cohorts_fit_every_rule():
    for grid in (GRID, grids.SMALL_GRID, grids.SCRATCH_GRID):
        assert grid.cohort >= 4 * grid.attackers + 3


def test_snowball_sees_the_first_and_the_last_layer():
    task = tasks.make(GRID.config)
    first, last = grids.ends(Variables(*task.network.init(jax.random.key(0))))
    assert first["kernel"].shape[:3] == (3, 3, 1)
    assert last["kernel"].shape[1] == 10


def test_a_data_set_without_a_grid_is_refused():
    config = dataclasses.replace(GRID.config, dataset="cifar10")
    with pytest.raises(errors.ConfigError, match="the grid runs on digits or mnist"):
        grids.run(dataclasses.replace(GRID, config=config), None, None)


def test_some_attacks_only_keep_their_order():
    some = dataclasses.replace(GRID, attacks=("IPM", "DBA"))
    assert grids.attacks_of(some) == ("DBA", "IPM")
    assert grids.attacks_of(GRID) == grids.ATTACKS
    scratch = dataclasses.replace(some, pretrained=False)
    assert grids.attacks_of(scratch) == ("none", "DBA", "IPM")
    with pytest.raises(errors.ConfigError, match="unknown attack 'DBQ'; did you mean 'DBA'"):
        grids.attacks_of(dataclasses.replace(GRID, attacks=("DBQ",)))


def test_names_can_be_listed_with_commas():
    assert not [name for name in grids.ATTACKS if "," in name]
