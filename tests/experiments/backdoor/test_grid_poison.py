import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from experiments.backdoor import grid_poison
from experiments.backdoor import task as tasks
from experiments.backdoor.grid_config import ATTACKS, SMOKE_GRID
from fl_jax.train.state import Variables

GRID = dataclasses.replace(SMOKE_GRID, examples=16)


def test_every_attack_has_its_poison_and_its_test_images():
    task = tasks.make(GRID.config)
    keys = jnp.stack([jax.random.key(s) for s in range(2)])
    trigger = jnp.zeros((2, 8, 8, 1)).at[1, 1:6, 5:8].set(1.0)
    generator = jax.vmap(grid_poison.trigger_of(GRID, task).generator.init)(keys)[0]
    material = grid_poison.Material(Variables({}, {}), keys, trigger, generator)
    poisons, tests = grid_poison.poisons(GRID, task, 1.0, material)
    assert poisons.whole.gamma.shape == (len(ATTACKS), 2)
    assert poisons.parts.gamma.shape == (len(ATTACKS), 2, GRID.attackers)
    a3fl = ATTACKS.index("A3FL")
    assert (np.asarray(tests["x"][a3fl, 0])[:, 1:6, 5:8] == 0).all()  # its own trigger, per seed
    assert (np.asarray(tests["x"][a3fl, 1])[:, 1:6, 5:8] == 16).all()
    own = np.asarray(tests["x"][ATTACKS.index("IBA")])
    plain = task.backdoors["pixel pattern"].plain_test.astype(np.float32)
    assert np.abs(own - plain[None]).max() <= 0.06 * 16 + 1e-5  # a bounded trigger, per seed
    assert (own[0] != own[1]).any()
